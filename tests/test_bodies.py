"""Secrets are taken out of what other servers say."""

from base64 import b64encode
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from entroute.bodies import Concealing

KEY = "sk+live/of=us%here"


def test_every_form_of_a_key_is_taken_out():
    packed = b64encode(KEY.encode()).decode(), b64encode(f"Bearer {KEY}".encode()).decode()
    said = f"no: Bearer {KEY}, {quote(KEY, safe='')}, {packed[0]}; {packed[1]}."
    assert Concealing(KEY).text(said) == ("no: Bearer [api_key], [api_key], [api_key]; [api_key].")


def test_what_is_no_text_stays_as_it_is():
    assert Concealing(KEY).bytes(b"\xff" + KEY.encode() + b"\x00") == b"\xff[api_key]\x00"


@given(st.binary())
def test_without_a_secret_nothing_changes(said: bytes):
    assert Concealing("").bytes(said) == said


@given(st.text(), st.text())
def test_the_secret_is_nowhere_in_what_is_left(before: str, after: str):
    assert KEY not in Concealing(KEY).text(before + KEY + after)
