"""The parts of a summary that are text: its verdict, and what was found, in two columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from amctq.cli.table import fitted_widths

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

_GAP = 2  # between columns


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The first line of a result.

    Attributes:
        text: what has come out.
        passed: whether it is good; None where nothing was judged.
    """

    text: str
    passed: bool | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """One line, with the word that counts in front."""
        from rich.text import Text

        if self.passed is None:
            yield Text(self.text, style="bold")
        else:
            word = "passed" if self.passed else "failed"
            yield Text.assemble((f"{word}:", "bold green" if self.passed else "bold red"), " ", (self.text, "bold"))


@dataclass(frozen=True, kw_only=True)
class FoundList:
    """What was found, each with its name.

    Attributes:
        rows: name and text.
    """

    rows: Sequence[tuple[str, str]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Two columns on a terminal, which breaks lines at words; else lines of ``name: text``."""
        from rich.table import Table
        from rich.text import Text

        if not console.is_terminal:
            yield from (Text(f"{name}: {text}") for name, text in self.rows)
            return
        names, texts = fitted_widths(self.rows, options.max_width - _GAP)
        table = Table.grid(padding=(0, _GAP, 0, 0), pad_edge=False)
        table.add_column(width=names, overflow="fold", style="cyan")
        table.add_column(width=texts, overflow="fold")
        for name, text in self.rows:
            table.add_row(Text(name), Text(text))
        yield table
