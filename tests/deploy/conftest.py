"""The programs that these tests run."""

import sys

import pytest

from tests.deploy.tools import Tools, fetched


@pytest.fixture(scope="session")
def tools() -> Tools:
    return fetched(lambda line: print(line, file=sys.stderr))  # noqa: T201
