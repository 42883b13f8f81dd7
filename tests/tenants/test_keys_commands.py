"""`entroute keys` as operators run it."""

import re
from pathlib import Path

import pytest
import yaml

from entroute.tenants.keys import digest_of
from entroute.tenants.keys_file import read_key_file
from tests.command_line import Run, runner
from tests.gateway_process import two_tiers
from tests.redis_server import RedisServer, redis_server

SECRET = re.compile(r"er-[0-9a-f]{12}-[A-Za-z0-9_-]{43}")


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `entroute keys` in this process."""
    return runner(capfd, monkeypatch, "keys")


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "keys.yaml")


@pytest.fixture
def config(tmp_path: Path, file: str) -> str:
    settings = {
        **two_tiers("http://127.0.0.1:1", "http://127.0.0.1:2"),
        "auth": {"keys_file": file},
    }
    path = tmp_path / "gateway.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return str(path)


def made(run: Run, *arguments: str, **environment: str) -> str:
    done = run("create", *arguments, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.removesuffix("\n")


def test_create_prints_the_key_alone_and_keeps_its_hash_alone(run: Run, file: str):
    done = run("create", "--name", "ci", "--file", file)
    assert done.returncode == 0
    secret = done.stdout.removesuffix("\n")
    assert SECRET.fullmatch(secret)
    assert secret not in done.stderr
    assert secret.split("-")[1] in done.stderr
    text = Path(file).read_text(encoding="utf-8")
    assert secret not in text
    assert digest_of(secret) in text


def test_every_option_lands_in_its_field(run: Run, file: str):
    options = (
        "--name ci --tenant acme --group batch --tiers small,large --strategies single --admin "
        "--priority high "
        "--expires 2999-01-02 --note n --requests-per-minute 1 --tokens-per-minute 2 "
        "--cost-per-minute-usd 0.3 --requests-per-month 4 --tokens-per-month 5 "
        "--cost-per-month-usd 6 --max-calls 7 --max-generated-tokens 8 --deadline-ms 9 "
        "--max-cost-usd 0.1"
    )
    made(run, *options.split(), "--file", file)
    (entry,) = read_key_file(Path(file))
    facts = entry.dump()
    assert facts.pop("created")
    assert facts == {
        "id": entry.id,
        "sha256": entry.sha256,
        "name": "ci",
        "tenant": "acme",
        "group": "batch",
        "admin": True,
        "priority": "high",
        "tiers": ["large", "small"],
        "strategies": ["single"],
        "budget": {
            "max_calls": 7,
            "max_generated_tokens": 8,
            "deadline_ms": 9.0,
            "max_cost_usd": 0.1,
        },
        "limits": {
            "requests_per_minute": 1,
            "tokens_per_minute": 2,
            "cost_per_minute_usd": 0.3,
            "requests_per_month": 4,
            "tokens_per_month": 5,
            "cost_per_month_usd": 6.0,
        },
        "expires": "2999-01-02T00:00:00Z",
        "note": "n",
    }


def test_a_priority_that_is_none_makes_no_key(run: Run, file: str):
    done = run("create", "--name", "ci", "--priority", "urgent", "--file", file)
    assert done.returncode != 0
    assert "--priority: " in done.stderr
    assert not Path(file).exists()


def test_the_list_shows_the_priority_of_keys_that_have_another(run: Run, file: str):
    made(run, "--name", "batch", "--priority", "low", "--file", file)
    made(run, "--name", "web", "--file", file)
    listed = run("list", "--file", file).stdout
    assert "priority: low" in listed
    assert "normal" not in listed


def test_a_key_is_its_own_tenant_unless_told_otherwise(run: Run, file: str):
    made(run, "--name", "ci", "--file", file)
    assert read_key_file(Path(file))[0].tenant == "ci"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--expires", "2020-01-01"], "--expires: 2020-01-01"),
        (["--expires", "soon"], "--expires: neither a date"),
        (["--group", "Two Words"], "--group"),
        (["--tenant", ""], "--tenant"),
        (["--requests-per-minute", "0"], "--requests-per-minute"),
        (["--cost-per-month-usd", "0"], "--cost-per-month-usd"),
        (["--max-calls", "many"], "--max-calls"),
    ],
    ids=str,
)
def test_a_wrong_option_is_named_and_nothing_is_made(
    run: Run, file: str, options: list[str], message: str
):
    done = run("create", "--name", "ci", "--file", file, *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""
    assert not Path(file).exists()


def test_a_configuration_says_where_keys_are_and_what_they_may_name(
    run: Run, config: str, file: str
):
    done = run("create", "--name", "ci", "--config", config, "--tiers", "small,smal")
    assert done.returncode == 2
    assert "--tiers: smal not configured; known: small, large" in done.stderr
    made(run, "--name", "ci", "--config", config, "--tiers", "small")
    assert read_key_file(Path(file))[0].tiers == frozenset({"small"})


def test_a_configuration_without_auth_is_refused(run: Run, tmp_path: Path):
    path = tmp_path / "gateway.yaml"
    path.write_text(yaml.safe_dump(two_tiers("http://127.0.0.1:1", "http://127.0.0.1:2")))
    done = run("list", "--config", str(path))
    assert done.returncode == 2
    assert "auth" in done.stderr


@pytest.mark.parametrize(
    ("places", "message"),
    [([], "say where the keys are"), (["--file", "a", "--config", "b"], "give one of them")],
)
def test_exactly_one_place_is_meant(run: Run, places: list[str], message: str):
    done = run("list", *places)
    assert done.returncode == 2
    assert message in done.stderr


def test_list_and_show_tell_all_but_hashes(run: Run, file: str):
    secret = made(run, "--name", "ci", "--file", file, "--tiers", "small", "--expires", "90d")
    made(run, "--name", "[red]web[/]", "--file", file, "--requests-per-minute", "60")
    run("rotate", "ci", "--file", file, "--grace", "1h")
    listed, shown = run("list", "--file", file), run("show", "ci", "--file", file)
    key_id = secret.split("-")[1]
    for done in (listed, shown):
        assert done.returncode == 0
        assert key_id in done.stdout
        assert not re.search("[0-9a-f]{32}", done.stdout)
    assert "[red]web[/]" in listed.stdout
    assert "old key until" in listed.stdout
    assert yaml.safe_load(shown.stdout)["tiers"] == ["small"]


def test_list_folds_what_does_not_fit_and_cuts_nothing(run: Run, file: str):
    made(run, "--name", "a-name-of-a-certain-length", "--file", file)
    done = run("list", "--file", file, COLUMNS="60")
    assert "…" not in done.stdout


def test_rotate_keeps_id_and_rights(run: Run, file: str):
    old = made(run, "--name", "ci", "--file", file, "--tiers", "small")
    done = run("rotate", "ci", "--file", file, "--grace", "24h")
    new = done.stdout.removesuffix("\n")
    assert SECRET.fullmatch(new)
    assert new.split("-")[1] == old.split("-")[1]
    assert new != old
    (entry,) = read_key_file(Path(file))
    assert entry.digests == (digest_of(new), digest_of(old))
    assert entry.tiers == frozenset({"small"})


def test_a_key_that_leaked_is_revoked_by_itself(run: Run, file: str):
    secret = made(run, "--name", "ci", "--file", file)
    done = run("revoke", secret, "--file", file)
    assert done.returncode == 0
    assert secret not in done.stderr
    assert read_key_file(Path(file)) == []


@pytest.mark.parametrize("command", ["show", "rotate", "revoke"])
def test_an_unknown_key_is_not_quoted(run: Run, file: str, command: str):
    made(run, "--name", "ci", "--file", file)
    done = run(command, "sk-of-somebody", "--file", file)
    assert done.returncode == 2
    assert "no key has this id or name" in done.stderr
    assert "sk-of-somebody" not in done.stdout + done.stderr


def test_a_missing_file_is_named(run: Run, file: str):
    done = run("list", "--file", file)
    assert done.returncode == 2
    assert f"{file}: No such file" in done.stderr


def test_keys_in_redis_are_changed_by_the_address_in_the_environment(run: Run):
    with redis_server() as server:
        environment = {"ENTROUTE_REDIS__URL": server.url}
        secret = made(run, "--name", "ci", **environment)
        assert "ci" in run("list", **environment).stdout
        assert run("rotate", "ci", "--grace", "1h", **environment).returncode == 0
        assert "previous" in run("show", secret.split("-")[1], **environment).stdout
        assert run("revoke", "ci", **environment).returncode == 0
        assert "ci" not in run("list", **environment).stdout


def test_a_file_counts_before_the_environments_redis(run: Run, file: str):
    made(run, "--name", "ci", "--file", file, ENTROUTE_REDIS__URL="redis://127.0.0.1:1/0")
    assert len(read_key_file(Path(file))) == 1


def test_a_redis_that_is_down_is_a_failure_without_its_password(run: Run):
    done = run("list", ENTROUTE_REDIS__URL="redis://user:hunter2@127.0.0.1:1/0")
    assert done.returncode == 1
    assert "redis failed" in done.stderr
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("url", ["hunter2", "http://hunter2@host", "redis://h:port/hunter2"])
def test_an_address_that_is_none_is_not_quoted(run: Run, url: str):
    done = run("list", ENTROUTE_REDIS__URL=url)
    assert done.returncode == 2
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_redis_password_is_a_failure_that_does_not_show_it(run: Run):
    with redis_server({"requirepass": "right-one"}, tcp=True) as server:
        url = server_url(server, "hunter2")
        done = run("create", "--name", "ci", ENTROUTE_REDIS__URL=url)
        assert done.returncode == 1
        assert "hunter2" not in done.stdout + done.stderr
        assert made(run, "--name", "ci", ENTROUTE_REDIS__URL=server_url(server, "right-one"))


def server_url(server: RedisServer, password: str) -> str:
    return server.tcp_url.replace("redis://", f"redis://:{password}@")
