"""Commands that serve nothing, run in this process."""

import os
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from entroute.cli import main


@dataclass(frozen=True, slots=True)
class Done:
    """What a finished command left."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


def runner(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *first: str) -> Run:
    """Return what runs a command to its end, its arguments after `first`, under an environment."""

    def to_its_end(*arguments: str, **environment: str) -> Done:
        for name in [name for name in os.environ if name.startswith("ENTROUTE_")]:
            monkeypatch.delenv(name)
        for name, value in {"COLUMNS": "200", **environment}.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as exit_:
            main([*first, *arguments])
        out, err = capfd.readouterr()
        code = exit_.value.code
        assert isinstance(code, int)
        return Done(code, out, err)

    return to_its_end
