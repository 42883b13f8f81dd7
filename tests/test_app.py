"""What the composition root derives from the configuration."""

from entroute.caching import fingerprint
from entroute.deciding import profile_of
from entroute.loading import load


def fingerprint_of(environment: dict[str, str]) -> str:
    settings = load(None, environment)
    return fingerprint(settings, profile_of(settings))


def test_the_fingerprint_changes_with_what_can_change_an_answer() -> None:
    base = fingerprint_of({})
    for name, value in (
        ("ENTROUTE_TIERS__0__ENGINE__GGUF", "qwen2.5-coder-1.5b-instruct"),
        ("ENTROUTE_TIERS__0__ENGINE__CONTEXT_LENGTH", "512"),
        ("ENTROUTE_STRATEGIES__0", "{kind: cascade, threshold: 0.9}"),
        ("ENTROUTE_POLICY__TRADE_OFF", "0.9"),
        ("ENTROUTE_DIFFICULTY__KIND", "lexical"),
        ("ENTROUTE_LIMITS__MAX_GENERATED_TOKENS", "10"),
    ):
        assert fingerprint_of({name: value}) != base, name


def test_the_fingerprint_stays_when_only_the_hosting_changes() -> None:
    base = fingerprint_of({})
    for name, value in (
        ("ENTROUTE_TIERS__0__ENGINE__THREADS", "7"),
        ("ENTROUTE_TIERS__0__PRICE__PROMPT", "9"),
        ("ENTROUTE_SERVER__PORT", "9"),
        ("ENTROUTE_CACHE__TTL_S", "9"),
    ):
        assert fingerprint_of({name: value}) == base, name


def test_the_fingerprint_changes_with_the_profile() -> None:
    settings = load(None, {})
    profile = profile_of(settings)
    assert profile is not None
    other = profile.model_copy(update={"trade_off": profile.trade_off + 1})
    assert fingerprint(settings, other) != fingerprint(settings, profile)
    assert fingerprint(settings, None) != fingerprint(settings, profile)
