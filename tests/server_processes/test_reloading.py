"""SIGHUP to the supervisor: all processes take a configuration, or none."""

import os
import signal

import pytest
import yaml

from tests.server_processes.conftest import Gateway, Serve, until, until_counted

pytestmark = pytest.mark.asyncio(loop_scope="session")

RELOADS = "entroute_reloads_total"


def rewrite(gateway: Gateway, text: str) -> None:
    """Put a configuration in the place of the one that is served, and say so."""
    gateway.config.write_text(text)
    gateway.served.process.send_signal(signal.SIGHUP)


async def prices(gateway: Gateway) -> set[float]:
    """Ask until every process has answered; return what the answers cost."""
    seen, asked, costs = set[int](), 0, set[float]()
    before = len(gateway.lines())
    while len(seen) < 2 and asked < 500:
        asked += 1
        answer = await gateway.client.answer(f"Hi {asked}", entroute={"cache": "bypass"})
        costs.add(answer["usage"]["entroute"]["cost_usd"])
        seen = {line["process"] for line in gateway.lines()[before:]}
    assert len(seen) == 2
    return costs


async def test_all_processes_take_a_good_file_and_so_do_later_ones(serve: Serve):
    gateway = await serve()
    (price,) = await prices(gateway)
    settings = yaml.safe_load(gateway.config.read_text())
    settings["tiers"][0]["price"] = {"prompt": 10.0, "completion": 20.0}
    rewrite(gateway, yaml.safe_dump(settings))
    await until_counted(gateway, 2, RELOADS, result="applied")
    assert list(await prices(gateway)) == [pytest.approx(10 * price)]
    gateway.config.write_text("not yet")  # who starts later has what the others have
    os.kill(gateway.pids[0], signal.SIGKILL)
    await until_counted(gateway, 1, "entroute_process_restarts_total")
    await until_counted(gateway, 2, "entroute_processes_up")
    assert list(await prices(gateway)) == [pytest.approx(10 * price)]
    assert await gateway.sample(RELOADS, result="applied") == 2


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"tiers": []}, "tiers: "),
        ({"server": {"processes": 3}}, "server.processes: cannot change without a restart"),
        ({"surprise": 1}, "surprise: unknown key"),
    ],
)
async def test_no_process_takes_a_file_that_is_refused(
    serve: Serve, wrong: dict[str, object], words: str
):
    gateway = await serve()
    settings = yaml.safe_load(gateway.config.read_text())
    for name, value in wrong.items():
        both = isinstance(value, dict) and isinstance(settings.get(name), dict)
        settings[name] = {**settings[name], **value} if both else value  # type: ignore[dict-item]
    rewrite(gateway, yaml.safe_dump(settings))
    await until(lambda: words in gateway.served.log.read_text())
    await until_counted(gateway, 1, RELOADS, result="refused")
    assert await gateway.sample(RELOADS, result="applied") == 0
    assert (await gateway.client.chat("Hi")).status_code == 200
    assert len(gateway.pids) == 2


async def test_a_hangup_of_one_process_alone_changes_nothing(serve: Serve):
    gateway = await serve()
    settings = yaml.safe_load(gateway.config.read_text())
    settings["tiers"][0]["price"] = {"prompt": 10.0, "completion": 20.0}
    gateway.config.write_text(yaml.safe_dump(settings))
    os.kill(gateway.pids[0], signal.SIGHUP)
    await until_counted(gateway, 1, RELOADS, result="unchanged")
    assert len(await prices(gateway)) == 1
