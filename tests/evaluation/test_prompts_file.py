import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from entroute.errors import ConfigurationError
from entroute.evaluation.prompts_file import BankPrompt, read_prompts
from tests.evaluation.recorded import a_row, prompts_at

ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi?"}]


def test_a_question_is_a_chat_of_one_message(tmp_path: Path) -> None:
    (prompt,) = prompts_at(tmp_path / "p.jsonl", [a_row(7)]).prompts
    assert prompt == BankPrompt(
        "q7",
        "sums",
        "reasoning",
        ({"role": "user", "content": "Number 7?"},),
        {"kind": "exact", "answer": "7"},
        line=1,
    )


def test_a_conversation_keeps_its_messages_and_what_goes_with_it(tmp_path: Path) -> None:
    verifier = {"kind": "majority"}
    row = {"id": "c", "task": "chat", "form": "code", "messages": ASKED, "max_tokens": 9}
    file = prompts_at(tmp_path / "p.jsonl", [row | {"verifier": verifier}])
    (prompt,) = file.prompts
    assert prompt.messages == tuple(ASKED)
    assert prompt.request.text == "Be brief.\n\nHi?"
    assert (prompt.check, prompt.verifier, prompt.max_tokens) == (None, verifier, 9)
    assert file.by_key() == {("c", "code"): prompt}


def test_compressed_prompts_have_the_digest_of_what_they_say(tmp_path: Path) -> None:
    plain = prompts_at(tmp_path / "p.jsonl", [a_row(1), a_row(2)])
    packed = tmp_path / "p.jsonl.gz"
    packed.write_bytes(gzip.compress((tmp_path / "p.jsonl").read_bytes()))
    assert read_prompts(packed).digest == plain.digest
    assert read_prompts(packed).prompts == plain.prompts
    assert prompts_at(tmp_path / "o.jsonl", [a_row(1)]).digest != plain.digest


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id": ""}, "id: String should have at least 1 character"),
        ({"id": 3}, "id: Input should be a valid string"),
        ({"mood": "good"}, "mood: Extra inputs are not permitted"),
        ({"messages": ASKED}, "give either messages or question"),
        ({"question": None}, "give either messages or question"),
        ({"question": None, "messages": [{"role": "user"}]}, "messages.0: a message has a role"),
        ({"max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
        ({"check": {"kind": "exact"}}, "check.answer: Field required"),
        ({"check": {"kind": "exact", "answer": "1", "x": 2}}, "check.x: Extra inputs are not"),
        ({"check": {"kind": "judge"}}, "check: Input tag 'judge' found using 'kind' does not"),
        ({"check": {}}, "check: Unable to extract tag using discriminator 'kind'"),
        ({"verifier": {"kind": "tests"}}, "verifier.tests: Field required"),
    ],
)
def test_a_wrong_row_is_named_by_line_and_field(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    path = tmp_path / "p.jsonl"
    with pytest.raises(ConfigurationError) as error:
        prompts_at(path, [a_row(1), a_row(2, **change)])
    assert str(error.value).startswith(f"{path}: line 2: {words}")


def test_what_is_no_json_is_named_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(a_row(1)) + "\n\nnot json\n")
    with pytest.raises(ConfigurationError, match="line 3: Invalid JSON"):
        read_prompts(path)


def test_two_prompts_of_one_id_and_form_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    prompts_at(path, [a_row(1), a_row(1, form="program")])
    with pytest.raises(ConfigurationError, match=r"line 2: id: 'q1' in the form 'reasoning' is on"):
        prompts_at(path, [a_row(1), a_row(1)])


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.jsonl: No such file"):
        read_prompts(tmp_path / "none.jsonl")
    with pytest.raises(ConfigurationError, match="holds no prompt"):
        prompts_at(tmp_path / "p.jsonl", [])
    cut = tmp_path / "p.jsonl.gz"
    cut.write_bytes(gzip.compress(b"{}")[:-9])
    with pytest.raises(ConfigurationError, match="cut off or no gzip file"):
        read_prompts(cut)
