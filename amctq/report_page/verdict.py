"""The verdict: what quantization has cost, with what the samples can say of it."""

from __future__ import annotations

from amctq.report_page.figures import fixed, grouped, significant
from amctq.report_page.markup import Child, Markup, element
from amctq.report_page.metric import Metric, metric_of
from amctq.report_page.part import Part
from amctq.report_page.plot import axes, frame, plot
from amctq.report_page.words import Words

_HEIGHT = 88


def verdict(words: Words, report: Part) -> Markup:
    """The first section."""
    failed = [check.text("name") for check in report.parts("checks") if not check.flag("passed", default=True)]
    accuracy, fidelity = report.part("accuracy"), report.part("fidelity")
    if failed:
        kind, lead = "bad", words("verdict.failed", checks=", ".join(failed))
    elif accuracy and "float" in accuracy and "int8" in accuracy:
        kind, lead = _of_drop(words, accuracy)
    elif accuracy:
        kind, lead = "plain", _of_one(words, accuracy)
    elif fidelity:
        kind, lead = "plain", words("verdict.fidelity")
    else:
        kind, lead = "plain", words("verdict.none")
    below: list[Child] = []
    if accuracy and "float" in accuracy and "int8" in accuracy:
        below.append(element("p", _sentence(words, accuracy)))
        below.append(_interval(words, accuracy))
        below.append(_gain(words, accuracy))
    elif fidelity:
        below.append(element("p", words("verdict.near", samples=grouped(fidelity.number("samples")))))
    return element(
        "section",
        element("h2", words("verdict"), id="verdict"),
        element("p", lead, class_=f"lead {kind}"),
        *below,
        aria_labelledby="verdict",
    )


def _of_drop(words: Words, accuracy: Part) -> tuple[str, str]:
    metric = metric_of(words, accuracy)
    drop, interval = accuracy.number(f"{metric.key}_drop"), accuracy.pair(f"{metric.key}_drop_95")
    values = {"metric": metric.label, "drop": metric.difference(drop), "images": grouped(accuracy.number("images"))}
    if interval is None:
        return "plain", words("verdict.drop", **values)
    if interval[0] > 0:
        return "bad", words("verdict.costs", **values)
    if interval[1] < 0:
        return "good", words("verdict.gains", **(values | {"drop": metric.difference(None if drop is None else -drop)}))
    return "good", words("verdict.even", **values)


def _of_one(words: Words, accuracy: Part) -> str:
    metric = metric_of(words, accuracy)
    # Of a run whose files cannot run here, the training network is the last that was measured.
    known = (accuracy, accuracy.part("training_network"), accuracy.part("float"))
    value = next((score for each in known if (score := each.number(metric.key)) is not None), None)
    return words(
        "verdict.one", metric=metric.label, value=metric.shown(value), images=grouped(accuracy.number("images"))
    )


def _sentence(words: Words, accuracy: Part) -> str:
    metric = metric_of(words, accuracy)
    interval, images = accuracy.pair(f"{metric.key}_drop_95"), grouped(accuracy.number("images"))
    drop = metric.difference(accuracy.number(f"{metric.key}_drop"))
    if interval is None:
        text = words("verdict.without", metric=metric.label, drop=drop, images=images)
    else:
        low, high = (fixed(end, metric.digits) for end in interval)
        text = words("verdict.interval", metric=metric.label, drop=drop, low=low, high=high, images=images)
    lost, gained = accuracy.number("lost"), accuracy.number("gained")
    if lost is None or gained is None:
        return text
    p_value = significant(accuracy.number("mcnemar_p"), 2)
    return text + words("verdict.hits", lost=grouped(lost), gained=grouped(gained), p=p_value)


def _interval(words: Words, accuracy: Part) -> Markup | None:
    metric = metric_of(words, accuracy)
    drop, interval = accuracy.number(f"{metric.key}_drop"), accuracy.pair(f"{metric.key}_drop_95")
    if drop is None or interval is None:
        return None
    return _drawn(words, metric, drop, interval)


def _drawn(words: Words, metric: Metric, drop: float, interval: tuple[float, float]) -> Markup:
    low, high = min(0.0, drop, *interval), max(0.0, drop, *interval)
    room = (high - low) * 0.1 or 1.0
    inner = frame((low - room, high + room), (0.0, 1.0), height=_HEIGHT)
    unit = f", {metric.unit}" if metric.unit else ""
    middle, zero = (inner.y.start + inner.y.end) / 2, inner.x.at(0.0)
    start, end = (inner.x.at(value) for value in interval)
    said = " … ".join(fixed(value, metric.digits) for value in interval)
    name = words("interval.plot", metric=metric.label)
    return plot(
        axes(inner, x_title=f"{name}{unit}", y_ticks=0, x_ticks=6),
        element("line", class_="zero", x1=zero, x2=zero, y1=inner.y.start, y2=inner.y.end),
        element("rect", class_="interval", x=start, y=middle - 6, width=max(end - start, 1), height=12, rx=3),
        element("circle", class_="point", cx=inner.x.at(drop), cy=middle, r=5),
        name=f"{name}: {fixed(drop, metric.digits)} ({said})",
        height=_HEIGHT,
        caption=words("interval.caption"),
    )


def _gain(words: Words, accuracy: Part) -> Markup | None:
    """What training has gained over post-training quantization."""
    gain = accuracy.part("gain_over_ptq")
    if not gain:
        return None
    metric = metric_of(words, accuracy)
    interval = gain.pair(f"{metric.key}_gain_95")
    text = words(
        "verdict.gain",
        gain=metric.difference(gain.number(f"{metric.key}_gain")),
        verdict=words.or_own("gain", gain.text("verdict")),
    )
    if interval is not None:
        text += words("verdict.gain95", low=fixed(interval[0], metric.digits), high=fixed(interval[1], metric.digits))
    return element("p", text)
