"""Tables in the terminal, however narrow: no name and no interval is cut or broken."""

import re
from collections.abc import Iterator

from rich.console import Console, ConsoleOptions
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

PART = re.compile(r"\[[^\]]*\]|not resolved|\S+")
"""What is never broken: the ends of an interval, the remark on it, or a word."""


class Cell:
    """A cell that is broken between the parts of its text alone."""

    def __init__(self, text: str) -> None:
        """Part the text."""
        self.text = text
        self.parts = PART.findall(text)
        self.narrowest = max(map(len, self.parts), default=0)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """Return the characters of its longest part and of all of it."""
        return Measurement(self.narrowest, len(self.text))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """Yield as few lines as there is room for."""
        if len(self.text) <= options.max_width:
            yield Text(self.text)
            return
        lines: list[str] = []
        for part in self.parts:
            if lines and len(lines[-1]) + 1 + len(part) <= options.max_width:
                lines[-1] += f" {part}"
            else:
                lines.append(part)
        yield Text("\n".join(lines))


def show(console: Console, table: Table) -> None:
    """Print a table of texts, with no room beside the lines, or wider than the terminal, where its parts need that."""
    shown = Table(*(column.copy() for column in table.columns), title=table.title, caption=table.caption)
    for row in zip(*(column.cells for column in table.columns), strict=True):
        shown.add_row(*(Cell(str(text)) for text in row))
    columns = [[Cell(str(text)) for text in (column.header, *column.cells)] for column in table.columns]
    narrowest = sum(max(cell.narrowest for cell in cells) for cells in columns)
    beside = 2 if narrowest + 3 * len(columns) + 1 <= console.width else 0
    shown.padding = (0, beside // 2)
    # rich itself makes the widest column narrow, whatever its parts need.
    for column, width in zip(shown.columns, _widths(columns, console.width - (beside + 1) * len(columns) - 1), strict=True):
        column.min_width = column.max_width = width
    console.print(shown, crop=False)


def _widths(columns: list[list[Cell]], room: int) -> list[int]:
    """Return how wide each column is: as its parts need, then, while there is room, as its head does, which is the first cell."""
    widths = [max(cell.narrowest for cell in cells) for cells in columns]
    room -= sum(widths)
    for count in (1, None):
        for index, cells in enumerate(columns):
            wanted = max(len(cell.text) for cell in cells[:count]) - widths[index]
            more = max(0, min(wanted, room))
            widths[index] += more
            room -= more
    return widths
