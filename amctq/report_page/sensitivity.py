"""Which layers lose most: a bar for each, and the figures of all in a table; and what a smaller file would cost."""

from __future__ import annotations

from amctq.report_page.axis import padded
from amctq.report_page.bar import bar
from amctq.report_page.figures import grouped, significant, size
from amctq.report_page.markup import Child, Markup, element
from amctq.report_page.part import Part
from amctq.report_page.plot import Frame, axes, frame, plot, polyline
from amctq.report_page.table import Cell, Number, table
from amctq.report_page.words import Words

_SHOWN = 24  # bars before the others are folded away
_HEIGHT = 220
_MEGA = 1e6


def sensitivity(words: Words, report: Part) -> Markup | None:
    """The layers by what quantizing each alone costs; None where that was not measured."""
    layers = report.parts("sensitivity")
    if not layers:
        return None
    key, title = _criterion(words, layers)
    largest = max((layer.number(key) or 0.0 for layer in layers), default=0.0)
    rows: list[list[Cell]] = [
        [
            layer.text("layer"),
            layer.text("operator"),
            Number(grouped(layer.number("weight_bits")), layer.number("weight_bits")),
            Number(significant(layer.number(key)), layer.number(key)),
            bar(layer.number(key) or 0.0, largest),
        ]
        for layer in layers
    ]
    heads = [words("layer"), words("operator"), words("bits"), title, ""]
    content: list[Child] = [table(words, words("sensitivity.caption"), heads, rows[:_SHOWN])]
    if rows[_SHOWN:]:
        rest = table(words, words("sensitivity.rest"), heads, rows[_SHOWN:])
        content.append(element("details", element("summary", words("more", count=grouped(len(rows) - _SHOWN))), rest))
    content.append(element("details", element("summary", words("all.figures")), _figures(words, layers)))
    return element(
        "section",
        element("h2", words("sensitivity"), id="sensitivity"),
        element("p", words("sensitivity.note"), class_="note"),
        *content,
        aria_labelledby="sensitivity",
    )


def _criterion(words: Words, layers: list[Part]) -> tuple[str, str]:
    """What the bars show: the drop of the score, else how far the outputs move."""
    for key in ("score_drop", "kl", "class_changes"):
        if any(layer.number(key) for layer in layers):
            return key, words(f"sensitivity.{key}")
    return "kl", words("sensitivity.kl")


def _figures(words: Words, layers: list[Part]) -> Markup:
    columns: tuple[tuple[str, str, str], ...] = (
        ("", "elements", words("weights.number")),
        ("", "score_drop", words("sensitivity.score_drop")),
        ("", "class_changes", words("sensitivity.class_changes")),
        ("", "kl", words("sensitivity.kl")),
        ("", "sqnr_db", "SQNR, dB"),
        ("left_in_float", "sqnr_db", words("left.sqnr")),
        ("left_in_float", "class_changes", words("left.changes")),
        ("output", "sqnr_db", words("output.sqnr")),
        ("output", "cosine", words("cosine")),
        ("output", "weights_only_sqnr_db", words("weights.only")),
        ("output", "activations_only_sqnr_db", words("activations.only")),
        ("output", "accumulated_sqnr_db", words("accumulated")),
        ("weights", "outlier_ratio", words("weights.outliers")),
        ("weights", "dead_channels", words("weights.dead")),
        ("activation", "clipped_share", words("clipped.share")),
        ("activation", "outlier_ratio", words("activation.outliers")),
        ("activation", "dead_channels", words("activation.dead")),
    )
    used = [
        (inside, key, title)
        for inside, key, title in columns
        if any((layer.part(inside) if inside else layer).number(key) is not None for layer in layers)
    ]
    rows: list[list[Cell]] = []
    for layer in layers:
        values = [(layer.part(inside) if inside else layer).number(key) for inside, key, _ in used]
        rows.append([layer.text("layer"), *(Number(significant(value), value) for value in values)])
    return table(words, words("all.figures"), [words("layer"), *(title for *_, title in used)], rows)


def frontier(words: Words, report: Part) -> Markup | None:
    """Bytes of the weights against the drop that is expected, and where it was measured; None where it is not there."""
    points = [point for point in report.parts("frontier") if point.number("bytes") is not None]
    expected = [
        (bytes_ / _MEGA, drop)
        for point in points
        if (bytes_ := point.number("bytes")) is not None and (drop := point.number("expected_drop")) is not None
    ]
    measured = [
        (bytes_ / _MEGA, drop)
        for point in points
        if (bytes_ := point.number("bytes")) is not None and (drop := point.number("measured_drop")) is not None
    ]
    if not expected and not measured:
        return None
    every = expected + measured
    x = padded(min(x for x, _ in every), max(x for x, _ in every))
    y = padded(min(y for _, y in every), max(y for _, y in every), 0.08)
    inner = frame(x, y, height=_HEIGHT)
    drawn: list[Child] = [axes(inner, x_title=words("frontier.bytes"), y_title=words("frontier.drop"))]
    drawn.append(polyline([(inner.x.at(a), inner.y.at(b)) for a, b in sorted(expected)], "curve"))
    drawn += [element("circle", class_="measured", cx=inner.x.at(a), cy=inner.y.at(b), r=3.5) for a, b in measured]
    drawn += [_chosen(inner, point) for point in points if point.flag("chosen")]
    rows: list[list[Cell]] = [
        [
            Number(size(point.number("bytes")), point.number("bytes")),
            Number(significant(point.number("expected_drop")), point.number("expected_drop")),
            Number(significant(point.number("measured_drop")), point.number("measured_drop")),
            words("chosen") if point.flag("chosen") else "",
        ]
        for point in points
    ]
    heads = [words("weights.bytes"), words("expected.drop"), words("measured.drop"), ""]
    return element(
        "section",
        element("h2", words("frontier"), id="frontier"),
        element(
            "div",
            plot(*drawn, name=words("frontier"), height=_HEIGHT, caption=words("frontier.caption")),
            table(words, words("frontier.points"), heads, rows),
            class_="beside",
        ),
        aria_labelledby="frontier",
    )


def _chosen(inner: Frame, point: Part) -> Markup | None:
    x, y = point.number("bytes"), point.number("measured_drop")
    y = point.number("expected_drop") if y is None else y
    if x is None or y is None:
        return None
    return element("circle", class_="chosen", cx=inner.x.at(x / _MEGA), cy=inner.y.at(y), r=7)
