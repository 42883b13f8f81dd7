"""No secret of the operator's is ever printed by a command."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from entroute.cli import main
from tests.echoing import Echo
from tests.secret_settings import (
    CLIENT_KEY,
    PASSWORD,
    REVOKED_KEY,
    SECRETS,
    key_file,
    said_in,
    settings_of,
)


def wrong_settings(good: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield settings with a secret where something else should be, or a mistake beside one."""
    tiers, auth = good["tiers"], good["auth"]
    worker = tiers[0]["workers"][0]
    yield {**good, "redis": redis_in_words()}
    yield {**good, "redis": {"url": PASSWORD}}
    yield {**good, "redis": {**good["redis"], "timeout_ms": PASSWORD}}
    yield {**good, "auth": CLIENT_KEY}
    yield {**good, "auth": {**auth, "keys": "redis"}}
    yield {**good, "auth": {**auth, "keys_file": [CLIENT_KEY]}}
    yield {**good, "auth": {**auth, "cache_salt_key": [SECRETS["salt"]]}}
    yield {**good, "sandbox": {**good["sandbox"], "connect_s": SECRETS["sandbox"]}}
    yield {**good, "sandbox": {**good["sandbox"], "url": f"http://:{SECRETS['sandbox']}@host"}}
    yield {**good, "rewards": [{**good["rewards"][0], "api_key": [SECRETS["reward"]]}]}
    for key in (["x", SECRETS["worker"]], f"{SECRETS['worker']}\n", f"{SECRETS['worker']} é"):
        yield {**good, "tiers": [{**tiers[0], "workers": [{**worker, "api_key": key}]}]}
    for url in (f"http://{SECRETS['worker']}@host/v1", f"http://host/v1?key={SECRETS['worker']}"):
        yield {**good, "tiers": [{**tiers[0], "workers": [{**worker, "url": url}]}]}


def redis_in_words() -> str:
    return f"redis://:{quote(PASSWORD, safe='')}@host"


Run = Callable[..., tuple[object, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in this process; return its status and all it wrote."""

    def to_its_end(*arguments: str, **environment: str) -> tuple[object, str]:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        out, err = capfd.readouterr()
        return exit_.value.code, out + err

    return to_its_end


def written(folder: Path, settings: Mapping[str, Any] | str) -> str:
    path = folder / "checked.yaml"
    text = settings if isinstance(settings, str) else yaml.safe_dump(dict(settings))
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_check_and_keys_print_no_secret(tmp_path: Path, run: Run):
    keys = key_file(tmp_path)
    good = settings_of(Echo(url="http://127.0.0.1:1"), keys, redis_in_words())
    config = written(tmp_path, good)
    status, said = run("check", "--config", config)
    assert status == 0, said
    assert "'**********'" in said
    for arguments in (["list"], ["show", "somebody"], ["revoke", REVOKED_KEY]):
        said += run("keys", *arguments, "--config", config)[1]
    dead = f"redis://:{quote(PASSWORD, safe='')}@127.0.0.1:1"
    said += run("keys", "list", ENTROUTE_REDIS__URL=dead)[1]
    assert "somebody" in said
    assert "redis failed" in said
    assert said_in(said) == []


def test_wrong_settings_are_told_without_their_secrets(tmp_path: Path, run: Run):
    good = settings_of(Echo(url="http://127.0.0.1:1"), key_file(tmp_path), redis_in_words())
    texts = [yaml.safe_dump(each) for each in wrong_settings(good)]
    texts.append(f"tiers: [{SECRETS['worker']}")
    texts.append(f"redis: {{url: {PASSWORD}\n")
    for text in texts:
        status, said = run("check", "--config", written(tmp_path, text))
        assert status == 2, text
        assert said_in(said) == [], text
        assert "entroute: " in said
