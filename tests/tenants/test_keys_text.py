"""A key file's text changes where its entries change."""

from hypothesis import given
from hypothesis import strategies as st

from entroute.tenants.keys import digest_of
from entroute.tenants.keys_file import parse_keys
from entroute.tenants.keys_records import KeyEntry
from entroute.tenants.keys_text import changed_text
from tests.keys import an_entry

BY_HAND = f"""\
# keys of the shop
keys:
  # phones
  - name: mobile
    sha256: "{digest_of("mobile")}"  # made by hand
    tenant: shop
    budget: {{max_calls: 3}}

  # the site
  - name: web   # asked for by Ann
    sha256: '{digest_of("web")}'
    tenant: shop
    note: |
      first line
      # no comment

# the end
"""


def after(text: str, new: list[KeyEntry]) -> str:
    old = parse_keys(text, "keys.yaml") if text else []
    result = changed_text(text, old, new, "keys.yaml")
    assert parse_keys(result, "keys.yaml") == new
    return result


def test_a_new_key_leaves_every_line_as_it_was():
    old = parse_keys(BY_HAND, "keys.yaml")
    text = after(BY_HAND, [*old, an_entry("new", name="new")])
    added = [line for line in text.splitlines() if line not in BY_HAND.splitlines()]
    assert [line for line in text.splitlines() if line not in added] == BY_HAND.splitlines()
    assert added[0] == "  - name: new"


def test_a_revoked_key_takes_its_lines_with_it_and_no_others():
    old = parse_keys(BY_HAND, "keys.yaml")
    text = after(BY_HAND, old[1:])
    assert "mobile" not in text
    assert "# asked for by Ann" in text
    text = after(BY_HAND, old[:1])
    assert "# made by hand" in text
    assert text.endswith("# the end\n")


def test_a_changed_key_is_written_in_its_place():
    old = parse_keys(BY_HAND, "keys.yaml")
    text = after(BY_HAND, [old[0].model_copy(update={"admin": True}), old[1]])
    assert text.index("# phones") < text.index("admin: true") < text.index("# the site")
    assert "# asked for by Ann" in text


def test_lists_that_are_not_indented_stay_so():
    text = f"keys:\n- name: a\n  tenant: a\n  sha256: {digest_of('a')}"
    old = parse_keys(text, "keys.yaml")
    assert after(text, [*old, an_entry("b")]).startswith(f"{text}\n- name: somebody\n")


def test_a_file_in_flow_style_is_written_anew():
    text = f"# gone\nkeys: [{{name: a, tenant: a, sha256: {digest_of('a')}}}]\n"
    old = parse_keys(text, "keys.yaml")
    assert "#" not in after(text, [*old, an_entry("b")])


def test_the_first_key_makes_the_file_and_the_last_leaves_an_empty_list():
    text = after("", [an_entry("a")])
    assert after(text, []) == "keys: []\n"
    assert after("keys: []\n", [an_entry("b")]).startswith("keys:\n- name: somebody\n")


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@st.composite
def entries(draw: st.DrawFn, secret: str) -> KeyEntry:
    return an_entry(secret, name=draw(NAMES), note=draw(NAMES), admin=draw(st.booleans()))


@given(st.data())
def test_any_change_of_any_keys_reads_as_it_was_meant(data: st.DataObject):
    old = [data.draw(entries(str(n))) for n in range(data.draw(st.integers(0, 4)))]
    text = after("", old)
    kept = [entry for entry in old if data.draw(st.booleans())]
    changed = [
        entry.model_copy(update={"note": data.draw(NAMES)}) if data.draw(st.booleans()) else entry
        for entry in kept
    ]
    after(text, [*changed, *(data.draw(entries(f"new {n}")) for n in range(2))])
