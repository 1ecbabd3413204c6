"""Which layers fell back so that the network is good enough: the tries, the one that was chosen, and its figures."""

from __future__ import annotations

from amctq.report_page.axis import padded
from amctq.report_page.figures import fixed, grouped
from amctq.report_page.markup import Child, Markup, element
from amctq.report_page.metric import Metric, metric_of
from amctq.report_page.part import Part
from amctq.report_page.plot import Frame, axes, frame, plot
from amctq.report_page.table import Cell, Number, table
from amctq.report_page.words import Words

_HEIGHT = 200


def fallback(words: Words, report: Part) -> Markup | None:
    """The section; None where no layer could fall back."""
    found = report.part("fallback")
    if not found:
        return None
    metric, tries = metric_of(words, found), found.parts("tries")
    values = {"target": metric.difference(found.number("target")), "drop": metric.difference(found.number("drop"))}
    lead = words("fallback.met" if found.flag("met") else "fallback.missed", **values)
    content: list[Child] = [
        element("p", lead),
        element("p", words("fallback.note"), class_="note"),
        element("div", _plot(words, metric, found, tries), _figures(words, metric, report), class_="beside"),
        _tries(words, metric, found, tries),
        _layers(words, found),
    ]
    return element("section", element("h2", words("fallback"), id="fallback"), *content, aria_labelledby="fallback")


def _figures(words: Words, metric: Metric, report: Part) -> Markup:
    """What was allowed, what the tuning samples lose, by which the layers were chosen, and what the others lose."""
    found, accuracy = report.part("fallback"), report.part("accuracy")
    key, share, target = metric.key, found.number("share_narrow"), found.number("target")
    rows: list[list[Cell]] = [
        [words("fallback.allowed"), "", Number(fixed(target, metric.digits), target), ""],
        [words("fallback.tuning"), *_measured(metric, found, "samples", "drop")],
    ]
    if f"{key}_drop" in accuracy:
        rows.append([words("fallback.evaluation"), *_measured(metric, accuracy, "images", f"{key}_drop")])
    heads = ["", words("samples"), _drop(words, metric), words("fallback.interval")]
    narrow = words("fallback.narrow", share=fixed(None if share is None else 100 * share, 1))
    return element("div", table(words, words("fallback.figures"), heads, rows), element("p", narrow))


def _measured(metric: Metric, part: Part, samples: str, drop: str) -> list[Cell]:
    count, value = part.number(samples), part.number(drop)
    return [Number(grouped(count), count), Number(fixed(value, metric.digits), value), _interval(metric, part, drop)]


def _interval(metric: Metric, part: Part, drop: str) -> Number:
    ends = part.pair(f"{drop}_95")
    return Number("" if ends is None else " … ".join(fixed(end, metric.digits) for end in ends))


def _drop(words: Words, metric: Metric) -> str:
    return f"{words('interval.plot', metric=metric.label)}{f', {metric.unit}' if metric.unit else ''}"


def _plot(words: Words, metric: Metric, found: Part, tries: list[Part]) -> Markup | None:
    """The drop of each try, with its interval, and what was allowed."""
    drops = [(place, drop, each) for place, each in enumerate(tries, 1) if (drop := each.number("drop")) is not None]
    if not drops:
        return None
    target = found.number("target")
    ends = [end for *_, each in drops for end in each.pair("drop_95") or ()]
    every = [0.0, *([] if target is None else [target]), *(drop for _, drop, _ in drops), *ends]
    inner = frame((0.5, len(tries) + 0.5), padded(min(every), max(every)), height=_HEIGHT, whole_x=True)
    drawn: list[Child] = [axes(inner, x_title=words("fallback.try"), y_title=_drop(words, metric))]
    if target is not None:
        place = inner.y.at(target)
        drawn.append(element("line", class_="clip", x1=inner.x.start, x2=inner.x.end, y1=place, y2=place))
    drawn += [_try(inner, place, drop, each) for place, drop, each in drops]
    return plot(*drawn, name=words("fallback.tries"), height=_HEIGHT, caption=words("fallback.caption"))


def _try(inner: Frame, place: int, drop: float, each: Part) -> Markup:
    x, y, ends = inner.x.at(place), inner.y.at(drop), each.pair("drop_95")
    bar = None
    if ends is not None:
        low, high = (inner.y.at(end) for end in ends)
        bar = element("rect", class_="interval", x=x - 3, y=high, width=6, height=max(low - high, 1), rx=2)
    ring = element("circle", class_="chosen", cx=x, cy=y, r=7) if each.flag("chosen") else None
    return element("g", bar, element("circle", class_="point", cx=x, cy=y, r=3.5), ring)


def _tries(words: Words, metric: Metric, found: Part, tries: list[Part]) -> Markup:
    rows: list[list[Cell]] = []
    for place, each in enumerate(tries, 1):
        layers, in_float, drop = each.number("layers"), each.number("in_float"), each.number("drop")
        wider = None if layers is None or in_float is None else layers - in_float
        rows.append(
            [
                f"{place}, {words('chosen')}" if each.flag("chosen") else str(place),
                Number(grouped(wider), wider),
                Number(grouped(in_float), in_float),
                Number(fixed(drop, metric.digits), drop),
                _interval(metric, each, "drop"),
                Number(words("fallback.kept" if each.flag("kept") else "fallback.much")),
            ]
        )
    heads = [
        words("fallback.try"),
        words("fallback.wider", bits=grouped(found.number("bits"))),
        words("fallback.float"),
        _drop(words, metric),
        words("fallback.interval"),
        "",
    ]
    return table(words, words("fallback.tries"), heads, rows)


def _layers(words: Words, found: Part) -> Markup:
    """Every layer that falls back in the chosen network."""
    levels = found.part("layers")
    rows: list[list[Cell]] = []
    for name in levels:
        level = levels.said(name)
        rows.append([name, words("stage.float") if level == "float" else words("bits.of", bits=level)])
    if not rows:
        return element("p", words("fallback.none"))
    head = words("fallback.layers", count=grouped(len(rows)))
    return element(
        "details", element("summary", head), table(words, head, [words("layer"), words("fallback.to")], rows)
    )
