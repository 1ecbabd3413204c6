"""Which classes lose, what their samples are taken for, and the worst samples as pictures."""

from __future__ import annotations

from amctq.report_page.figures import fixed, grouped, signed, significant
from amctq.report_page.markup import Child, Markup, element
from amctq.report_page.part import Part
from amctq.report_page.table import Cell, Number, table
from amctq.report_page.words import Words

_SHOWN = 20  # classes before the others are folded away
_PICTURE = "data:image/png;base64,"


class Names:
    """What classes are called: by name and number where the dataset says names, else by number.

    Args:
        report: whose classes they are.
    """

    def __init__(self, report: Part) -> None:
        every = report.part("classes").parts("per_class")
        self._names = {each.number("class"): each.text("name") for each in every if "name" in each}

    def __call__(self, number: float | None) -> str:
        """The class with a number."""
        name = self._names.get(number)
        return grouped(number) if not name else f"{name} ({grouped(number)})"


def classes(words: Words, report: Part) -> Markup | None:
    """The section of classes; None where the network gives none."""
    found = report.part("classes")
    every = found.parts("per_class")
    if not every:
        return None
    compares = any("float" in each for each in every)
    names = Names(report)
    rows = sorted((_row(names, each, compares=compares) for each in every), key=lambda row: row[0])
    cells = [row for _, row in rows]
    heads = [words("class"), words("samples"), *([words("float.right")] if compares else []), words("quantized.right")]
    heads.append(words("difference") if compares else words("share"))
    if not compares:
        heads[2] = words("right")
    tables: list[Child] = [table(words, words("classes.caption"), heads, cells[:_SHOWN])]
    if cells[_SHOWN:]:
        rest = table(words, words("classes.rest"), heads, cells[_SHOWN:])
        tables.append(element("details", element("summary", words("more", count=grouped(len(cells) - _SHOWN))), rest))
    changes = _changes(words, names, found, compares=compares)
    return element(
        "section",
        element("h2", words("classes"), id="classes"),
        element("div", element("div", *tables), changes, class_="beside"),
        aria_labelledby="classes",
    )


def _row(names: Names, each: Part, *, compares: bool) -> tuple[tuple[float, float], list[Cell]]:
    """A row, after the key that puts the class with the largest loss first."""
    name, samples = each.number("class") or 0.0, each.number("samples") or 0.0
    after = each.number("quantized") or 0.0
    row: list[Cell] = [names(name), Number(grouped(samples), samples)]
    if not compares:
        share = 100.0 * after / samples if samples else None
        row += [Number(grouped(after), after), Number(f"{fixed(share, 1)} %", share)]
        return (share or 0.0, name), row
    before = each.number("float") or 0.0
    row += [Number(grouped(before), before), Number(grouped(after), after)]
    row.append(Number(signed(after - before, 0) if after != before else "0", after - before))
    return (after - before, name), row


def _changes(words: Words, names: Names, found: Part, *, compares: bool) -> Markup | None:
    changes = found.parts("changes")
    if not changes:
        return element("p", words("changes.none"), class_="note")
    rows: list[list[Cell]] = []
    for each in changes:
        row: list[Cell] = [names(each.number("target"))]
        if compares:
            row.append(names(each.number("float")))
        row.append(names(each.number("quantized")))
        row.append(Number(grouped(each.number("samples")), each.number("samples")))
        if compares:
            row.append(words(f"change.{_kind(each)}"))
        rows.append(row)
    heads = [words("target"), *([words("class.float")] if compares else [])]
    heads.append(words("class.quantized") if compares else words("class.predicted"))
    heads.append(words("samples"))
    if compares:
        heads.append("")
    key = "changes.caption" if compares else "mistakes.caption"
    return table(words, words(key, count=grouped(found.number("changed"))), heads, rows)


def _kind(change: Part) -> str:
    target = change.number("target")
    if change.number("float") == target:
        return "lost"
    return "gained" if change.number("quantized") == target else "other"


def worst(words: Words, report: Part) -> Markup | None:
    """The section of worst samples; None where the metric has no score of a sample."""
    found, names = report.parts("worst"), Names(report)
    if not found:
        return None
    return element(
        "section",
        element("h2", words("worst"), id="worst"),
        element("p", words("worst.note"), class_="note"),
        element("ol", *(_card(words, names, each) for each in found), class_="cards"),
        element("details", element("summary", words("as.table")), _table(words, found)),
        aria_labelledby="worst",
    )


def _card(words: Words, names: Names, each: Part) -> Markup:
    picture = each.text("thumbnail")
    title = words("sample", index=grouped(each.number("index")))
    shown = None
    if picture.startswith(_PICTURE):
        shown = element("img", src=picture, alt=title, width=96, height=96)
    lines: list[Child] = [element("div", title, class_="sample")]
    if "target" in each:
        lines.append(element("div", f"{words('target')} {names(each.number('target'))}"))
    for name in ("float", "quantized"):
        if f"{name}_margin" in each or name in each:
            right = each.number(name) == each.number("target")
            text = f"{words(f'stage.short.{name}')} {names(each.number(name))}"
            margin = element("small", f" {significant(each.number(f'{name}_margin'), 3)}")
            mark = element("span", "✓" if right else "✗", class_="right" if right else "wrong")
            lines.append(element("div", text, " ", mark, margin))
        elif f"{name}_score" in each:
            lines.append(element("div", f"{words(f'stage.short.{name}')} {significant(each.number(f'{name}_score'))}"))
    return element("li", shown, element("div", *lines))


def _table(words: Words, found: list[Part]) -> Markup:
    keys = ("target", "float", "quantized", "float_margin", "quantized_margin", "float_score", "quantized_score")
    used = [key for key in keys if any(key in each for each in found)]
    rows: list[list[Cell]] = [
        [
            grouped(each.number("index")),
            *(Number(significant(each.number(key)), each.number(key)) for key in used),
        ]
        for each in found
    ]
    return table(words, words("worst"), [words("index"), *(words(f"worst.{key}") for key in used)], rows)
