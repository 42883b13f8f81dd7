"""What the composition root derives from the configuration."""

from entroute.app import fingerprint
from entroute.loading import load


def test_the_fingerprint_changes_with_what_can_change_an_answer() -> None:
    base = fingerprint(load(None, {}))
    for name, value in (
        ("ENTROUTE_TIERS__0__ENGINE__GGUF", "qwen2.5-coder-1.5b-instruct"),
        ("ENTROUTE_TIERS__0__ENGINE__CONTEXT_LENGTH", "512"),
        ("ENTROUTE_STRATEGIES__0", "{kind: cascade, threshold: 0.9}"),
        ("ENTROUTE_POLICY__HARD_ABOVE", "0.9"),
        ("ENTROUTE_DIFFICULTY__EASY_BELOW", "0.2"),
        ("ENTROUTE_LIMITS__MAX_GENERATED_TOKENS", "10"),
    ):
        assert fingerprint(load(None, {name: value})) != base, name


def test_the_fingerprint_stays_when_only_the_hosting_changes() -> None:
    base = fingerprint(load(None, {}))
    for name, value in (
        ("ENTROUTE_TIERS__0__ENGINE__THREADS", "7"),
        ("ENTROUTE_TIERS__0__PRICE__PROMPT", "9"),
        ("ENTROUTE_SERVER__PORT", "9"),
        ("ENTROUTE_CACHE__TTL_S", "9"),
    ):
        assert fingerprint(load(None, {name: value})) == base, name
