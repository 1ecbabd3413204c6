"""The curves of a training: loss and learning rate by step, the score by epoch."""

from __future__ import annotations

from amctq.report_page.axis import padded
from amctq.report_page.figures import significant
from amctq.report_page.markup import Markup, element
from amctq.report_page.metric import metric_of
from amctq.report_page.part import Part
from amctq.report_page.plot import axes, frame, plot, polyline
from amctq.report_page.table import Cell, Number, table
from amctq.report_page.words import Words

_HEIGHT = 190
Points = list[tuple[float, float]]


def training(words: Words, report: Part) -> Markup | None:
    """The section; None where nothing was trained."""
    history, metric = report.part("history"), metric_of(words, report.part("accuracy"))
    steps, epochs = history.parts("steps"), history.parts("epochs")
    plots = [
        _curve(words("loss"), words("step"), _points(steps, "step", "loss")),
        _curve(words("learning.rate"), words("step"), _points(steps, "step", "learning_rate")),
        _curve(metric.title, words("epoch"), _points(epochs, "epoch", metric.key), dots=True),
    ]
    shown = [each for each in plots if each is not None]
    if not shown:
        return None
    rows: list[list[Cell]] = [
        [significant(each.number("epoch")), Number(significant(each.number(metric.key), 6), each.number(metric.key))]
        for each in epochs
    ]
    scores = table(words, words("epochs"), [words("epoch"), metric.title], rows) if rows else None
    facts = report.part("training")
    exported = facts.number("exported_epoch")
    note = None if exported is None else element("p", words("exported", epoch=significant(exported)), class_="note")
    return element(
        "section",
        element("h2", words("training"), id="training"),
        note,
        element("div", *shown, class_="plots"),
        None if scores is None else element("details", element("summary", words("as.table")), scores),
        aria_labelledby="training",
    )


def _points(items: list[Part], across: str, up: str) -> Points:
    points = [(x, y) for item in items if (x := item.number(across)) is not None and (y := item.number(up)) is not None]
    return sorted(points)


def _curve(name: str, across: str, points: Points, *, dots: bool = False) -> Markup | None:
    if not points:
        return None
    lows, highs = [min(part) for part in zip(*points, strict=True)], [max(part) for part in zip(*points, strict=True)]
    inner = frame((lows[0], highs[0]), padded(lows[1], highs[1]), height=_HEIGHT)
    places = [(inner.x.at(x), inner.y.at(y)) for x, y in points]
    marked = places if dots or len(places) == 1 else []
    return plot(
        axes(inner, x_title=across, y_title=name),
        polyline(places, "curve"),
        *(element("circle", class_="measured", cx=x, cy=y, r=3) for x, y in marked),
        name=f"{name}: {significant(points[0][1])} … {significant(points[-1][1])}",
        height=_HEIGHT,
    )
