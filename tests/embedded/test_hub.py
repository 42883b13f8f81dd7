import sys
import time
from pathlib import Path

import pytest

from entroute.embedded.fetching import Patience, run_download
from entroute.embedded.hub import Hub
from entroute.errors import WeightsError
from tests.embedded.fakes import CONTENT, hub_server, tiny_model


def ignore(held: int) -> None:
    """Take a report and do nothing."""


def test_a_hub_that_answers_delivers_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with hub_server({"/someone/tiny/resolve/main/tiny.gguf": CONTENT}) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)

        file = Hub(Patience(30, 30)).fetch(tiny_model(), tmp_path, ignore)

    assert file.read_bytes() == CONTENT


def test_a_hub_without_the_file_is_left_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hub_server({}) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        with pytest.raises(WeightsError, match="404"):
            Hub(Patience(30, 30)).fetch(tiny_model(), tmp_path, ignore)


def test_offline_is_honoured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    with pytest.raises(WeightsError, match=r"(?i)offline"):
        Hub(Patience(30, 30)).fetch(tiny_model(), tmp_path, ignore)


def test_a_silent_download_is_killed(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(WeightsError, match=r"no answer for 0\.3 s"):
        run_download(
            [sys.executable, "-c", "import time; time.sleep(60)"],
            tmp_path,
            Patience(first_byte_s=0.3, silence_s=60),
            ignore,
            {},
        )
    assert time.monotonic() - started < 10


def test_a_growing_download_is_given_the_longer_patience(tmp_path: Path) -> None:
    script = (
        "import sys, time; time.sleep(0.5); open(sys.argv[1], 'w').write('abc');"
        "time.sleep(1.5); sys.exit('said last')"
    )
    reports: list[int] = []

    with pytest.raises(WeightsError, match="said last"):
        run_download(
            [sys.executable, "-c", script, str(tmp_path / "growing")],
            tmp_path,
            Patience(first_byte_s=1.2, silence_s=30),
            reports.append,
            {},
        )

    assert reports[0] == 0
    assert reports[-1] == 3
