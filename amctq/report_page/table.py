"""A table: with a caption, numbers on the right, and a button that copies it for a spreadsheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from amctq.report_page.markup import Child, Markup, element
from amctq.report_page.words import Words


@dataclass(frozen=True)
class Number:
    """A cell with a number: what is shown, and what is copied."""

    shown: str
    raw: float | int | None = None


Cell: TypeAlias = "str | Markup | Number | None"


def table(words: Words, caption: str, heads: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Markup:
    """A table whose first column names the rows. A column is on the right where one of its cells is a number."""
    right = [any(isinstance(row[place], Number) for row in rows) for place in range(len(heads))]
    titles = [element("th", head, scope="col", class_=_side(to)) for head, to in zip(heads, right, strict=True)]
    # Without heads, the table is a list of names and values.
    head = element("thead", element("tr", *titles)) if any(heads) else None
    body = element("tbody", *(element("tr", *_cells(row, right)) for row in rows))
    whole = element("table", element("caption", caption), head, body)
    return element(
        "div",
        element("div", whole, class_="scroll", tabindex="0", role="region", aria_label=caption),
        copy_button(words, caption),
        class_="tabled",
    )


def copy_button(words: Words, what: str) -> Markup:
    """A button that copies what stands before it in the same element."""
    said, done = words("copy"), words("copied")
    return element("button", said, class_="copy", type="button", data_done=done, aria_label=f"{said}: {what}")


def _cells(row: Sequence[Cell], right: Sequence[bool]) -> list[Child]:
    cells: list[Child] = []
    for place, (cell, to) in enumerate(zip(row, right, strict=True)):
        name, extra = ("td", {}) if place else ("th", {"scope": "row"})
        if isinstance(cell, Number):
            raw = None if cell.raw is None else f"{cell.raw:.10g}"
            cells.append(element(name, cell.shown, class_=_side(to), data_raw=raw, **extra))
        else:
            cells.append(element(name, cell or "", class_=_side(to), **extra))
    return cells


def _side(right: bool) -> str | None:
    return "n" if right else None
