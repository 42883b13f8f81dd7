import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.tool_calls import canonical_tool_calls

names = st.text(alphabet="abc", min_size=1, max_size=2)
leaves = st.none() | st.booleans() | st.integers() | st.text(max_size=4)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3)
)
arguments = st.dictionaries(names, values, max_size=4)
calls = st.lists(st.tuples(names, arguments), max_size=4)


def call(name: str, raw: object, call_id: str = "1") -> dict[str, object]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": raw}}


def written(raw: object, *ignore: str) -> str:
    return canonical_tool_calls([call("f", raw)], ignore)


def test_ids_the_order_of_keys_and_whitespace_do_not_count() -> None:
    one = canonical_tool_calls([call("f", '{"a": 1, "b": [1, 2]}', "x")])
    assert one == canonical_tool_calls([call("f", '{"b":[1,2],"a":1}', "y")])
    assert one == canonical_tool_calls([{"name": "f", "arguments": {"b": [1, 2], "a": 1}}])
    assert one != canonical_tool_calls([call("g", '{"a": 1, "b": [1, 2]}')])
    assert one != canonical_tool_calls([call("f", '{"a": 1, "b": [2, 1]}')])
    assert one == '[["f","json",{"a":1,"b":[1,2]}]]'


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", "1.0"),
        ("1", "1e0"),
        ("100", "1E+2"),
        ("0.5", "5e-1"),
        ("0", "-0.0"),
        ("-3", "-3.00"),
        ("0.1", "0.10"),
        ("1e400", "10e399"),
        ('"a\\u0062"', '"ab"'),
    ],
)
def test_one_value_may_be_written_in_several_ways(one: str, other: str) -> None:
    assert written(f'{{"x": {one}}}') == written(f'{{"x": {other}}}')


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", '"1"'),
        ("1", "true"),
        ("0", "null"),
        ("0", "false"),
        ("1", "-1"),
        ("1", "10"),
        ("0.1", "0.10000000000000000001"),
        ("9007199254740992", "9007199254740993"),
        ("[]", "{}"),
        ("[1]", "[1, 1]"),
    ],
)
def test_different_values_stay_different(one: str, other: str) -> None:
    assert written(f'{{"x": {one}}}') != written(f'{{"x": {other}}}')


@given(st.decimals(allow_nan=False, allow_infinity=False), st.integers(0, 5))
def test_zeros_at_the_end_of_a_number_do_not_count(number: Decimal, zeros: int) -> None:
    digits = number.as_tuple()
    assert isinstance(digits.exponent, int)
    longer = Decimal(
        (digits.sign, digits.digits + (0,) * zeros, max(digits.exponent - zeros, -999_999))
    )
    if longer == number:
        assert written(f"[{number}]") == written(f"[{longer}]")


@pytest.mark.parametrize(("given_number", "raw"), [(1.0, "1"), (0.1, "0.10"), (1e30, "1e30")])
def test_arguments_may_come_as_values(given_number: float, raw: str) -> None:
    assert written({"x": [given_number, (1,)]}) == written(f'{{"x": [{raw}, [1]]}}')


@given(arguments, st.data())
def test_shuffled_keys_are_equal(given_arguments: dict[str, Any], data: st.DataObject) -> None:
    keys = data.draw(st.permutations(list(given_arguments)))
    shuffled = {key: given_arguments[key] for key in keys}
    assert written(json.dumps(given_arguments)) == written(json.dumps(shuffled, indent=1))
    assert written(given_arguments) == written(json.dumps(given_arguments))


@given(arguments)
def test_what_is_written_is_json_of_the_same_arguments(given_arguments: dict[str, Any]) -> None:
    read = json.loads(written(given_arguments), parse_float=Decimal)
    assert read == [["f", "json", given_arguments]]


@given(calls, st.data())
def test_the_order_of_parallel_calls_does_not_count(
    pairs: list[tuple[str, dict[str, Any]]], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(pairs))
    one = canonical_tool_calls([call(*pair) for pair in pairs])
    assert one == canonical_tool_calls([call(*pair) for pair in shuffled])
    if pairs:
        assert one != canonical_tool_calls([call(*pair) for pair in [*pairs, pairs[0]]])


def test_arguments_that_are_not_json_stay_text() -> None:
    assert written("{oops") != written('"{oops"')
    deep, digits, exponent = "[" * 100_000, "9" * 5_000, "1e" + "9" * 30
    assert len({written(raw) for raw in (deep, digits, exponent, "{oops", "", None)}) == 6
    assert written(object()).startswith('[["f","text"')
    assert canonical_tool_calls([]) == "[]"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_json_does_not_know_are_kept(number: str) -> None:
    assert written(f"[{number}]") == written([float(number)])
    assert written(f"[{number}]") == f'[["f","json",[{number}]]]'


def test_a_custom_tools_input_is_text() -> None:
    def custom(text: str) -> dict[str, object]:
        return {"id": "1", "type": "custom", "custom": {"name": "sql", "input": text}}

    assert canonical_tool_calls([custom("1")]) != canonical_tool_calls([custom("1.0")])
    assert canonical_tool_calls([custom("a")]) == canonical_tool_calls([custom("a")])


ITEMS = '{"at": 1, "meta": {"id": 7, "by": "x"}, "items": [{"id": 1, "n": 2}, {"id": 3, "n": 4}]}'


@pytest.mark.parametrize(
    ("ignore", "left"),
    [
        (("at",), {"meta": {"id": 7, "by": "x"}, "items": [{"id": 1, "n": 2}, {"id": 3, "n": 4}]}),
        (("meta.id", "items", "at"), {"meta": {"by": "x"}}),
        (("items.*.id", "meta", "at"), {"items": [{"n": 2}, {"n": 4}]}),
        (("*.id", "items", "at"), {"meta": {"by": "x"}}),
        (("items.*", "meta", "at"), {"items": []}),
        (("items.id", "at.x", "none.of.it", "meta"), {
            "at": 1, "items": [{"id": 1, "n": 2}, {"id": 3, "n": 4}],
        }),
        (("*",), {}),
    ],
)  # fmt: skip
def test_what_lies_at_an_ignored_path_does_not_count(
    ignore: tuple[str, ...], left: dict[str, Any]
) -> None:
    assert written(ITEMS, *ignore) == written(left)


@given(arguments, st.lists(names | st.just("*"), min_size=1, max_size=3))
def test_ignoring_twice_is_ignoring_once(given_arguments: dict[str, Any], path: list[str]) -> None:
    once = written(given_arguments, ".".join(path))
    arguments_left = once.removeprefix('[["f","json",').removesuffix("]]")
    assert written(arguments_left, ".".join(path)) == once


@pytest.mark.parametrize("path", ["", ".", "a.", ".a", "a..b", "a*", "**"])
def test_a_path_of_another_form_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="no path"):
        written("{}", path)
