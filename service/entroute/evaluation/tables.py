"""Tables in CSV files."""

import csv
import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path

from entroute.errors import ConfigurationError


def read_table(path: Path, columns: Sequence[str]) -> list[tuple[str, dict[str, str]]]:
    """Read a table, each row with its file and line.

    Args:
        path: A `.csv` in UTF-8, or `.csv.gz`.
        columns: What it must have; others may be there, too.

    Raises:
        ConfigurationError: It cannot be read, or lacks a column.
    """
    packed = path.suffix == ".gz"
    try:
        with (gzip.open if packed else open)(path, "rt", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            lacking = [name for name in columns if name not in (rows.fieldnames or ())]
            if lacking:
                raise ConfigurationError(f"{path}: the column {lacking[0]} is missing")
            return [(f"{path}:{rows.line_num}", row) for row in rows]
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        raise ConfigurationError(f"{path}: cannot be read as a table: {error}") from error
