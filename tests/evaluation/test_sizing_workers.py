"""Times of steps, and lengths of traces."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.errors import ConfigurationError
from entroute.evaluation.hardware import MODELS
from entroute.evaluation.lengths import Arrival, Lengths, Spread, read_trace
from entroute.evaluation.step_times import ForwardSteps, Step
from tests.evaluation.forward_times import slow_gpu, written_table

TRACE = b"arrival_s,input_tokens,output_tokens\n1,1,2\n"


def test_forward_times_are_interpolated():
    steps = slow_gpu()
    aside = steps.overhead_s
    assert steps.seconds(Step(reading=64)) == pytest.approx(0.012 + aside)
    assert steps.seconds(Step(reading=160)) == pytest.approx(0.016 + aside)
    assert steps.seconds(Step(reading=8192)) == pytest.approx(0.560 + aside)


def test_attention_reads_the_kv_cache():
    # 131,072 bytes a token (2 x 32 layers x 8 heads x 128 x 2) at 80% of 2.039 TB/s.
    assert MODELS["Meta-Llama-3-8B"].kv_bytes == 131_072
    assert slow_gpu().context_s == pytest.approx(131_072 / (0.8 * 2.039e12))
    more = slow_gpu().seconds(Step(0, 8, 100_000)) - slow_gpu().seconds(Step(0, 8, 0))
    assert more == pytest.approx(100_000 * slow_gpu().context_s)


def test_the_kv_cache_is_what_weights_leave():
    assert slow_gpu().kv_tokens == int((0.9 * 80e9 - 2 * 8.03e9) / 131_072)


def test_a_table_is_read_by_gpu_and_model(tmp_path: Path):
    path = written_table(tmp_path)
    found = ForwardSteps.read(path, "a100", "Meta-Llama-3-8B", 1)
    assert found == slow_gpu()
    packed = tmp_path / "times.csv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert ForwardSteps.read(packed, "a100", "Meta-Llama-3-8B", 1) == found


@pytest.mark.parametrize(
    ("gpu", "model", "gpus"), [("a200", "Meta-Llama-3-8B", 1), ("a100", "gpt", 1), ("a100", "x", 2)]
)
def test_what_the_table_lacks_is_named(tmp_path: Path, gpu: str, model: str, gpus: int):
    with pytest.raises(ConfigurationError, match=f"gpu {gpu}, model {model}"):
        ForwardSteps.read(written_table(tmp_path), gpu, model, gpus)


def test_no_table_is_refused(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ConfigurationError, match=r"a\.csv: the column gpu is missing"):
        ForwardSteps.read(path, "a100", "Meta-Llama-3-8B", 1)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        ForwardSteps.read(tmp_path / "none.csv", "a100", "Meta-Llama-3-8B", 1)


def test_a_trace_is_read_in_order(tmp_path: Path):
    path = tmp_path / "trace.csv"
    path.write_text("arrival_s,input_tokens,output_tokens,prefix_blocks\n2,10,0,4 5\n1,20,3,\n")
    assert read_trace(path) == [Arrival(1.0, 20, 3), Arrival(2.0, 10, 1, ("4", "5"))]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("arrival_s,input_tokens\n1,2\n", "the column output_tokens is missing"),
        ("arrival_s,input_tokens,output_tokens\n1,x,2\n", r"trace\.csv:2: .* must be numbers"),
        ("arrival_s,input_tokens,output_tokens\n1,-4,2\n", "must not be negative"),
        ("arrival_s,input_tokens,output_tokens\n1,4,2\n1,inf,2\n", r"trace\.csv:3: .* end"),
        ("arrival_s,input_tokens,output_tokens\n", r"trace\.csv: holds no request"),
    ],
)
def test_a_wrong_trace_is_refused_by_its_place(tmp_path: Path, text: str, said: str):
    path = tmp_path / "trace.csv"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        read_trace(path)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", TRACE + b"\xff,1,2\n"),
        ("a.csv", TRACE + b"1" * 200_000),
        ("a.csv.gz", TRACE),
        ("a.csv.gz", gzip.compress(TRACE)[:-4]),
        ("a.csv.gz", gzip.compress(TRACE)[:10] + b"\xff" * 20),
    ],
    ids=("bytes", "field", "not packed", "cut off", "broken"),
)
def test_a_broken_file_is_named(tmp_path: Path, name: str, data: bytes):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ConfigurationError, match=f"{name}: cannot be read as a table"):
        read_trace(path)


@pytest.mark.parametrize("row", ["0,5", "x,5", "64,nan", "64,0", "64"])
def test_a_wrong_forward_time_is_refused_by_its_place(tmp_path: Path, row: str):
    path = tmp_path / "times.csv"
    header = "gpu,model,tp,num_tokens,linear_ms_per_forward"
    path.write_text(f"{header}\na100,Meta-Llama-3-8B,1,1,10\na100,Meta-Llama-3-8B,1,{row}\n")
    with pytest.raises(ConfigurationError, match=r"times\.csv:3: num_tokens"):
        ForwardSteps.read(path, "a100", "Meta-Llama-3-8B", 1)


@given(st.lists(st.tuples(st.integers(1, 9000), st.integers(1, 900)), min_size=1, max_size=300))
def test_thinned_lengths_keep_the_means(pairs: list[tuple[int, int]]):
    lengths = Lengths.of([Arrival(0.0, p, o) for p, o in pairs])
    assert len(lengths.pairs) <= 120
    mean = sum(p for p, _ in pairs) / len(pairs)
    # Scaled to the mean, but no length below one token.
    assert lengths.prompt == pytest.approx(mean, rel=0.05, abs=1.0)


def test_spread_lengths_have_mean_and_deviation():
    lengths = Lengths.spread(Spread(1000, 1.0), Spread(200, 0.0))
    prompts = [p for p, _ in lengths.pairs]
    deviation = (sum((p - 1000) ** 2 for p in prompts) / len(prompts)) ** 0.5
    assert lengths.prompt == pytest.approx(1000)
    assert 0.8 < deviation / 1000 < 1.0  # the longest are cut by taking the middle of shares
    assert lengths.answer == pytest.approx(200)
