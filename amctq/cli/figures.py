"""The figures of a run in one table: float, quantized and the change, with a small bar for each value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from amctq.cli.table import aligned, fitted_widths
from amctq.number_text import number_text

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

_GAP = 2  # between columns
_BAR = (4, 12)  # the shortest that says anything, and the longest


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One row: a quantity at each stage.

    Attributes:
        name: of the quantity, with its unit.
        values: at each stage; None where it was not measured.
        digits: behind the point; None for those that the size of a value needs.
        change: the last against the first.
    """

    name: str
    values: Sequence[float | None]
    digits: int | None = 0
    change: str = ""

    @property
    def texts(self) -> list[str]:
        """The values as they are written."""
        return ["-" if value is None else number_text(value, self.digits) for value in self.values]


@dataclass(frozen=True, kw_only=True)
class FigureTable:
    """Quantities by stage.

    Attributes:
        stages: what they are called.
        rows: the quantities.
        change: heading of the last column; empty for none.
    """

    stages: Sequence[str]
    rows: Sequence[Figure]
    change: str = "change"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """A table with bars on a terminal, the bars as long as there is room; else aligned lines."""
        from rich import box
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        texts = [["", *self.stages, self.change], *([row.name, *row.texts, row.change] for row in self.rows)]
        if not self.change:
            texts = [row[:-1] for row in texts]
        if not console.is_terminal:
            yield from map(Text, aligned(texts, range(1, len(texts[0]))))
            return
        gaps = _GAP * (len(texts[0]) - 1)
        widths = fitted_widths(texts, options.max_width - gaps)
        bar = (options.max_width - gaps - sum(widths)) // len(self.stages) - 1
        bar = min(bar, _BAR[1]) if bar >= _BAR[0] and len(self.stages) > 1 else 0
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0)
        table.add_column(texts[0][0], width=widths[0], overflow="fold")
        for index, head in enumerate(texts[0][1:], 1):
            # Values and bars are one blank apart, pairs of them two.
            table.add_column(Text(head), width=widths[index] + _GAP - 1, justify="right", overflow="fold")
            if bar and index <= len(self.stages):
                table.add_column(width=bar)
        for row, cells in zip(self.rows, texts[1:], strict=True):
            largest = max([value for value in row.values if value is not None], default=0.0)
            shown: list[Text | ProgressBar] = [Text(cells[0])]
            for index, cell in enumerate(cells[1:], 1):
                shown.append(Text(cell))
                if bar and index <= len(self.stages):
                    value = max(row.values[index - 1] or 0.0, 0.0)
                    style = "bright_black" if index == 1 else "cyan"
                    whole = largest if largest > 0 else 1.0
                    shown.append(
                        ProgressBar(whole, value, width=bar, complete_style=style, finished_style=style)
                        if value
                        else ProgressBar(whole, 0.0, width=bar)
                    )
            table.add_row(*shown)
        yield table
