"""Strategies whose answer is a sentence of ours cannot fill a gap."""

import pytest

from entroute.strategies import DEFAULT_STRATEGIES
from entroute.types import ChatRequest
from tests.builders import a_run, a_tier, refused
from tests.fakes import FakeSandbox, executed, strategy_parts

ASKED = ChatRequest("auto", prompt="2 + 2 = ", suffix=" apples")


@pytest.mark.parametrize("kind", ["cot_pot", "program_first"])
def test_programs_do_not_fill_in(kind: str):
    (config,) = [config for config in DEFAULT_STRATEGIES if config.kind == kind]
    strategy = config.build(strategy_parts(FakeSandbox(executed)))
    assert refused(strategy, a_run(a_tier("small"), request=ASKED)) == "suffix"
