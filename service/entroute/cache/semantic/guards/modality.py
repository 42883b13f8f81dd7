"""What must be, may be, was or will be."""

from entroute.cache.semantic.guards.polarity import negations
from entroute.cache.semantic.guards.reading import Reading

_MODAL = {
    "must": "must",
    "need": "need",
    "required": "need",
    "should": "should",
    "ought": "should",
    "may": "may",
    "might": "may",
    "allowed": "may",
    "can": "can",
    "could": "can",
    "able": "can",
}
_PAST = frozenset({"was", "were", "did"})
_FUTURE = frozenset({"will", "shall", "going"})


def modality_differs(a: Reading, b: Reading) -> bool:
    """Say whether the texts oblige or permit differently, and it matters: denied or asked for.

    "How can I" and "how should I" ask the same; "can I" and "must I", "may not" and "need not" do
    not.
    """
    mine, yours = _modals(a), _modals(b)
    if "how" in {*a.words[:1]} & {*b.words[:1]}:
        mine, yours = mine - {"can"}, yours - {"can"}
    if mine == yours:
        return False
    if negations(a) or negations(b):
        return True
    return _opens_with_modal(a) or _opens_with_modal(b)


def tense_differs(a: Reading, b: Reading) -> bool:
    """Say whether one text speaks of the past or of the future and the other does not."""
    return any(tense.isdisjoint(a.words) != tense.isdisjoint(b.words) for tense in (_PAST, _FUTURE))


def _modals(text: Reading) -> frozenset[str]:
    return frozenset(_MODAL[word] for word in text.words if word in _MODAL)


def _opens_with_modal(text: Reading) -> bool:
    return bool(text.words) and text.words[0] in _MODAL
