"""What was measured: accuracy, files and outputs in tables; and, in a place of its own, what varies from run to run."""

from __future__ import annotations

from amctq.report_page.bar import bar
from amctq.report_page.figures import fixed, grouped, signed, significant, size
from amctq.report_page.markup import Child, Markup, element
from amctq.report_page.metric import metric_of
from amctq.report_page.part import Part
from amctq.report_page.table import Cell, Number, table
from amctq.report_page.words import Words

_STAGES = ("float", "ptq", "training_network", "int8")


def measured(words: Words, report: Part) -> Markup:
    """Accuracy and size."""
    return element(
        "section",
        element("h2", words("measured"), id="measured"),
        element("div", _accuracy(words, report), _files(words, report), _fidelity(words, report), class_="beside"),
        aria_labelledby="measured",
    )


def _accuracy(words: Words, report: Part) -> Markup | None:
    accuracy = report.part("accuracy")
    if not accuracy:
        return None
    metric = metric_of(words, accuracy)
    known = [name for name in _STAGES if name in accuracy]
    stages = {name: accuracy.part(name) for name in known} if known else {"score": accuracy}
    first = next(iter(stages.values()))
    names = [name for name in first if name not in {"metric", "images", "agreement", "file"}]
    rows: list[list[Cell]] = []
    for name in names:
        values = [stage.number(name) for stage in stages.values()]
        title = metric.title if name == metric.key else {"top5": "top-5, %"}.get(name, name)
        row: list[Cell] = [title, *(Number(fixed(value, metric.digits), value) for value in values)]
        if len(values) > 1:
            change = None if values[0] is None or values[-1] is None else values[-1] - values[0]
            row.append(Number(signed(change, metric.digits), change))
        rows.append(row)
    heads = ["", *(words.or_own("stage", name) for name in stages)]
    if len(stages) > 1:
        heads.append(words("difference"))
    caption = words("accuracy.on", images=grouped(accuracy.number("images")))
    return table(words, caption, heads, rows)


def _files(words: Words, report: Part) -> Markup | None:
    files = report.part("files")
    rows: list[list[Cell]] = []
    for form in files:
        file = files.part(form)
        before, after, ratio = file.number("float_bytes"), file.number("int8_bytes"), file.number("ratio")
        rows.append(
            [
                file.text("name", form),
                Number(size(before), before),
                Number(size(after), after),
                Number(f"{fixed(ratio, 3)} ×", ratio),
            ]
        )
    if not rows:
        return None
    heads = [words("file"), words("stage.float"), words("stage.int8"), words("ratio")]
    return table(words, words("sizes"), heads, rows)


def _fidelity(words: Words, report: Part) -> Markup | None:
    outputs = report.part("fidelity").parts("outputs")
    if not outputs:
        return None
    rows: list[list[Cell]] = [
        [
            each.text("output"),
            Number(fixed(each.number("sqnr_db"), 1) if "sqnr_db" in each else words("equal"), each.number("sqnr_db")),
            Number(fixed(each.number("cosine"), 5), each.number("cosine")),
            Number(significant(each.number("max_difference"), 3), each.number("max_difference")),
        ]
        for each in outputs
    ]
    heads = [words("output"), "SQNR, dB", words("cosine"), words("largest.difference")]
    return table(words, words("fidelity"), heads, rows)


def timing(words: Words, report: Part) -> Markup | None:
    """What differs between two equal runs: speed and the time of each phase. Nothing else of the page does."""
    found = report.part("timing")
    if not found:
        return None
    seconds = found.part("seconds")
    phases = {name: seconds.number(name) or 0.0 for name in seconds}
    longest, total = max(phases.values(), default=0.0), sum(phases.values())
    rows: list[list[Cell]] = [
        [words.or_own("phase", name), Number(fixed(value, 2), value), bar(value, longest)]
        for name, value in phases.items()
    ]
    content: list[Child] = [_speed(words, found)]
    if rows:
        heads = [words("phase"), words("seconds"), ""]
        content.append(table(words, words("phases.total", seconds=fixed(total, 1)), heads, rows))
    return element(
        "section",
        element("h2", words("timing"), id="timing"),
        element("p", words("timing.note"), class_="note"),
        element("div", *content, class_="beside"),
        aria_labelledby="timing",
        class_="varies",
    )


def _speed(words: Words, found: Part) -> Markup | None:
    if found.said("images_per_second"):  # of evaluate: one network
        value, ends = found.number("images_per_second"), found.pair("images_per_second_range")
        return _speeds(words, [(words("stage.score"), value, ends)], words("speed"))
    speed = found.part("images_per_second")
    if not speed:
        return None
    rows = [(words(f"stage.{name}"), speed.number(name), speed.pair(f"{name}_range")) for name in ("float", "int8")]
    caption = words("speed.of", file=speed.text("file"), batch=grouped(speed.number("batch_size")))
    busy = element("p", words("speed.busy"), class_="note") if speed.flag("busy") else None
    ratio = element("p", words("speed.ratio", ratio=fixed(speed.number("ratio"), 2)))
    return element("div", _speeds(words, rows, caption), ratio, busy)


def _speeds(words: Words, rows: list[tuple[str, float | None, tuple[float, float] | None]], caption: str) -> Markup:
    most = max((value or 0.0 for _, value, _ in rows), default=0.0)
    cells: list[list[Cell]] = [
        [
            name,
            Number(fixed(value, 0), value),
            Number("" if ends is None else f"{fixed(ends[0], 0)} … {fixed(ends[1], 0)}"),
            bar(value or 0.0, most),
        ]
        for name, value, ends in rows
    ]
    return table(words, caption, ["", words("images.second"), words("spread"), ""], cells)
