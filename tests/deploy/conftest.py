"""The programs that these tests run."""

import sys
from collections.abc import Iterator

import pytest

from tests.deploy.stage import Stage, stage
from tests.deploy.tools import Tools, fetched


@pytest.fixture(scope="session")
def tools() -> Tools:
    return fetched(lambda line: print(line, file=sys.stderr))  # noqa: T201


@pytest.fixture(scope="session", name="stage")
def played(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("stage"), tools.prometheus) as there:
        yield there
