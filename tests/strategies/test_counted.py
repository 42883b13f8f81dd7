"""What strategies keep that stop on counted votes."""

import pytest

from entroute.protocols import Streams
from entroute.strategies.adaptive_consistency import AdaptiveConsistencyConfig
from entroute.strategies.counted import CountedVote
from entroute.strategies.esc import EscConfig
from tests.builders import a_request, a_run, a_tier, refused
from tests.fakes import FakeVerifier, strategy_parts, voter
from tests.scripted import FakeBackend, hangs
from tests.strategies.leaving import leave

COUNTED = {
    made.name: made
    for made in (
        AdaptiveConsistencyConfig(samples=10).build(strategy_parts()),
        EscConfig(window=5).build(strategy_parts()),
    )
}
every = pytest.mark.parametrize("made", COUNTED.values(), ids=COUNTED)


@every
def test_what_it_cannot_honour_is_named(made: CountedVote) -> None:
    tier = a_tier("small")
    assert not isinstance(made, Streams)
    assert refused(made, a_run(tier, request=a_request(n=2))) == "n"
    assert refused(made, a_run(tier, request=a_request(temperature=0.0))) == "temperature"
    assert refused(made, a_run(tier, verifier=FakeVerifier({}))) == "entroute.verifier"
    assert refused(made, a_run(tier, verifier=voter())) is None


@pytest.mark.parametrize(("name", "live"), [("adaptive_consistency", 4), ("esc", 5)])
async def test_leaving_cancels_every_sample(name: str, live: int) -> None:
    backend = FakeBackend(hangs(after=1))
    await leave(COUNTED[name], a_run(a_tier("small", backend)), backend, live=live)
