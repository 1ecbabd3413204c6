"""Rows in columns: a table on a terminal that breaks lines at words, and aligned plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

_GAP = 2  # between columns


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """A table of texts.

    Attributes:
        columns: the headings; empty for none.
        rows: one text for each column.
        right: the columns whose texts end at the same place, by number.
        title: a line above it.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: Collection[int] = ()
    title: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it as the console allows."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        headed = [self.columns, *self.rows] if any(self.columns) else self.rows
        if self.title:
            yield Text(self.title)
        if not console.is_terminal:
            yield from map(Text, aligned(headed, self.right))
            return
        # Two blanks between columns: one is the box's, and one the padding's, which the last column has too.
        table = Table(box=box.SIMPLE_HEAD, show_header=any(self.columns), show_edge=False, padding=(0, 1, 0, 0))
        widths = fitted_widths(headed, options.max_width - _GAP * (len(self.columns) - 1) - 1)
        for index, column in enumerate(self.columns):
            table.add_column(
                Text(column),
                width=widths[index],
                justify="right" if index in self.right else "left",
                overflow="fold",
            )
        for row in self.rows:
            table.add_row(*map(Text, row))
        yield table


def aligned(rows: Sequence[Sequence[str]], right: Collection[int]) -> Iterator[str]:
    """The rows as lines whose columns begin, or end, at the same place; a character of double width counts as two.

    Args:
        rows: one text for each column.
        right: the columns that end at the same place, by number.
    """
    from rich.cells import cell_len

    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = []
        for index, (text, width) in enumerate(zip(row, widths, strict=True)):
            blanks = " " * (width - cell_len(text))
            cells.append(blanks + text if index in right else text + blanks)
        yield (" " * _GAP).join(cells).rstrip()


def fitted_widths(rows: Sequence[Sequence[str]], room: int) -> list[int]:
    """Widths of columns that together need at most ``room``, where no word is broken unless they cannot hold it.

    Args:
        rows: one text for each column.
        room: columns of the terminal for the texts.
    """
    from rich.cells import cell_len

    columns = list(zip(*rows, strict=True))
    wanted = [max(1, *map(cell_len, column)) for column in columns]
    words = [max([1, *(cell_len(word) for text in column for word in text.split())]) for column in columns]
    widths = list(wanted)
    while sum(widths) > room:
        # The column that has most to spare over its longest word gives way; then the widest.
        spare = [width - word for width, word in zip(widths, words, strict=True)]
        widest = max(range(len(widths)), key=lambda at: (spare[at] > 0, widths[at]))
        if widths[widest] == 1:
            break
        widths[widest] -= 1
    return widths
