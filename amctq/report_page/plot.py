"""A plot: an SVG with two axes, a title for those who do not see it, and a caption.

The text of a plot is part of the page: its colours are those of the style sheet, light and dark, and it can be read by
machines. Its width is that of a phone; a wide page shows several beside each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from amctq.report_page.axis import Axis, axis
from amctq.report_page.markup import Child, Markup, element, joined, short

WIDTH = 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 18, 34


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The inner part of a plot.

    Attributes:
        x: from left to right.
        y: from bottom to top.
        height: of the whole plot.
    """

    x: Axis
    y: Axis
    height: int


def frame(
    x: tuple[float, float], y: tuple[float, float], *, height: int = 170, log_x: bool = False, log_y: bool = False
) -> Frame:
    """A frame for values in these ranges."""
    return Frame(
        x=axis(*x, _LEFT, WIDTH - _RIGHT, log=log_x),
        y=axis(*y, height - _BOTTOM, _TOP, log=log_y),
        height=height,
    )


def axes(inner: Frame, *, x_title: str, y_title: str = "", x_ticks: int = 5, y_ticks: int = 4) -> Markup:
    """Grid, ticks and titles; drawn before what the plot shows. No ticks of y where there shall be 0."""
    bottom, top = inner.y.start, inner.y.end
    grid: list[Child] = []
    for value, text in inner.y.ticks(y_ticks) if y_ticks else ():
        place = inner.y.at(value)
        grid.append(element("line", class_="grid", x1=inner.x.start, x2=inner.x.end, y1=place, y2=place))
        grid.append(element("text", text, class_="tick", x=inner.x.start - 5, y=place + 3.5, text_anchor="end"))
    for value, text in _apart(inner.x, inner.x.ticks(x_ticks)):
        place = inner.x.at(value)
        grid.append(element("line", class_="mark", x1=place, x2=place, y1=bottom, y2=bottom + 4))
        grid.append(element("text", text, class_="tick", x=place, y=bottom + 15, text_anchor="middle"))
    grid.append(element("line", class_="axis", x1=inner.x.start, x2=inner.x.end, y1=bottom, y2=bottom))
    middle = (inner.x.start + inner.x.end) / 2
    grid.append(element("text", x_title, class_="title", x=middle, y=inner.height - 4, text_anchor="middle"))
    if y_title:
        grid.append(element("text", y_title, class_="title", x=inner.x.start, y=top - 7))
    return joined(grid)


def _apart(scale: Axis, ticks: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """The ticks whose texts do not touch."""
    kept: list[tuple[float, str]] = []
    free = -1e9
    for value, text in ticks:
        half = 3.2 * len(text)
        if scale.at(value) - half > free and scale.at(value) + half <= WIDTH:
            kept.append((value, text))
            free = scale.at(value) + half + 4
    return kept


def plot(*content: Child, name: str, height: int, caption: Child = None, wide: bool = False) -> Markup:
    """A finished plot.

    Args:
        content: what it shows, from back to front.
        name: what it shows, in words.
        height: of the drawing.
        caption: below it.
        wide: it may take the whole width of the page.
    """
    drawing = element(
        "svg",
        element("title", name),
        *content,
        role="img",
        aria_label=name,
        viewBox=f"0 0 {WIDTH} {height}",
        preserveAspectRatio="xMidYMid meet",
    )
    below = None if caption is None else element("figcaption", caption)
    return element("figure", drawing, below, class_="plot wide" if wide else "plot")


def polyline(points: Sequence[tuple[float, float]], class_: str) -> Markup:
    """A line through points, in pixels."""
    return element("polyline", class_=class_, points=" ".join(f"{short(x)},{short(y)}" for x, y in points))
