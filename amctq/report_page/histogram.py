"""The histogram of a tensor with the chosen range: how many values lie where, and which are clipped."""

from __future__ import annotations

from amctq.report_page.axis import padded
from amctq.report_page.figures import grouped, significant
from amctq.report_page.markup import Markup, element, joined, short
from amctq.report_page.part import Part
from amctq.report_page.plot import Frame, axes, frame, plot
from amctq.report_page.words import Words

_HEIGHT = 158
_LOWEST = 0.8  # below one value, so that a bin with one is seen on the logarithmic scale


def histogram(words: Words, values: Part, name: str) -> Markup | None:
    """The plot of one tensor; None where there are no counts."""
    low, high, counts = values.number("lo"), values.number("hi"), values.numbers("counts")
    clip = values.pair("clip")
    if low is None or high is None or not counts:
        return None
    ends = [low, high, *(clip or ())]
    inner = frame(
        padded(min(ends), max(ends), 0.02), (_LOWEST, max(10.0, max(counts) * 1.3)), height=_HEIGHT, log_y=True
    )
    drawn = [axes(inner, x_title=words("value"), y_title=words("values.log"), y_ticks=4)]
    width = (high - low) / len(counts)
    drawn.append(_steps(inner, low, width, counts))
    zeros, total = values.number("zeros") or 0.0, sum(counts) + (values.number("zeros") or 0.0)
    outside = 0.0
    if clip is not None:
        for end, side in ((clip[0], -1), (clip[1], 1)):
            drawn.append(_clip(inner, end, side))
        outside = _outside(low, width, counts, clip)
    caption = [f"{words('range')} {significant(low)} … {significant(high)}"]
    if clip is not None:
        caption.append(f"{words('clips')} {significant(clip[0])} … {significant(clip[1])}")
        if outside >= 0.5:
            share = f"{100 * outside / total:.2g} %" if total else ""
            caption.append(words("clipped", share=share, count=grouped(outside)))
    if zeros:
        caption.append(words("zeros", share=f"{100 * zeros / total:.3g} %" if total else ""))
    text = "; ".join(caption)
    return plot(*drawn, name=f"{name}: {text}", height=_HEIGHT, caption=joined(element("b", name), " ", text))


def _steps(inner: Frame, low: float, width: float, counts: list[float]) -> Markup:
    bottom = inner.y.start
    path = [f"M{short(inner.x.at(low))} {short(bottom)}"]
    last = None
    for place, count in enumerate(counts):
        height = short(inner.y.at(count) if count >= _LOWEST else bottom)
        if height != last:
            path.append(f"H{short(inner.x.at(low + place * width))}V{height}")
            last = height
    path.append(f"H{short(inner.x.at(low + len(counts) * width))}V{short(bottom)}Z")
    return element("path", class_="counts", d="".join(path))


def _clip(inner: Frame, end: float, side: int) -> Markup:
    place, edge = inner.x.at(end), inner.x.start if side < 0 else inner.x.end
    top, bottom = inner.y.end, inner.y.start
    cut = element("rect", class_="cut", x=min(place, edge), y=top, width=abs(edge - place), height=bottom - top)
    return joined(cut, element("line", class_="clip", x1=place, x2=place, y1=top, y2=bottom))


def _outside(low: float, width: float, counts: list[float], clip: tuple[float, float]) -> float:
    """How many values lie outside the clips; of a bin that a clip divides, the share."""
    found = 0.0
    for place, count in enumerate(counts):
        start, end = low + place * width, low + (place + 1) * width
        if end <= start:
            continue
        inside = max(0.0, min(end, clip[1]) - max(start, clip[0]))
        found += count * (1.0 - min(1.0, inside / (end - start)))
    return found
