"""Tables of our own that stand in a file of tab-separated values, each fault with its file and line."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from metatoolagent import strict_yaml
from metatoolagent.errors import UserError, shown


def rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows of a table by the names of its columns; blank lines are none.

    Args:
        path: of the file, UTF-8, whose first line has the names of the columns.
        columns: which there must be, in any order, and no others.

    Raises:
        OSError: if the file cannot be read.
        UserError: E-ENCODING, E-PARSE if it is not tab-separated values, E-FIELD if a column or a value is missing or too many.
    """
    fix = f"correct it, or restore the file: git checkout -- {path}"
    text = strict_yaml.decoded(path.read_bytes(), path)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t", strict=True)
    found = []
    try:
        header = next(reader, [])
        if sorted(header) != sorted(columns):
            what = f"the first line must have the columns {', '.join(columns)}"
            raise UserError("E-FIELD", what, f"{path}:1", shown(", ".join(header)), fix)
        for row in filter(None, reader):
            if len(row) != len(header):
                what = f"a row must have {len(header)} columns and has {len(row)}"
                raise UserError("E-FIELD", what, f"{path}:{reader.line_num}", shown(", ".join(row)), fix)
            found.append(dict(zip(header, row, strict=True)))
    except csv.Error as error:  # such as a quote that is never closed
        raise UserError("E-PARSE", f"not tab-separated values: {error}", f"{path}:{reader.line_num}", fix=fix) from None
    return found
