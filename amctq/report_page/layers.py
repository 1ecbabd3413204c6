"""Every layer: all in one table, and each on demand with the distributions of its weights and its input."""

from __future__ import annotations

from amctq.report_page.figures import fixed, grouped, significant
from amctq.report_page.histogram import histogram
from amctq.report_page.markup import Child, Markup, element
from amctq.report_page.part import Part
from amctq.report_page.table import Cell, Number, table
from amctq.report_page.words import Words


def layers(words: Words, report: Part) -> Markup | None:
    """The section; None where the report names no layer."""
    quantization = report.part("quantization")
    quantized, in_float = quantization.parts("layers"), quantization.parts("left_in_float")
    drawn = {each.text("layer"): each for each in report.parts("histograms")}
    if not quantized and not in_float and not drawn:
        return None
    facts = {layer.text("name"): _facts(words, layer) for layer in quantized}
    names = list(dict.fromkeys([*facts, *drawn]))
    content: list[Child] = [element("p", _counted(words, quantized, in_float), class_="note")]
    if quantized:
        content.append(element("details", element("summary", words("layers.table")), _table(words, quantized)))
    if in_float:
        rows: list[list[Cell]] = [[each.text("name"), each.text("reason")] for each in in_float]
        heads = [words("layer"), words("reason")]
        content.append(
            element(
                "details", element("summary", words("layers.float")), table(words, words("layers.float"), heads, rows)
            )
        )
    content += [_layer(words, name, facts.get(name, ""), drawn.get(name)) for name in names]
    return element("section", element("h2", words("layers"), id="layers"), *content, aria_labelledby="layers")


def _counted(words: Words, quantized: list[Part], in_float: list[Part]) -> str:
    return words("layers.count", quantized=grouped(len(quantized)), float=grouped(len(in_float)))


def _facts(words: Words, layer: Part) -> str:
    """The line beside a layer's name."""
    said = [layer.text("type"), words("bits.of", bits=grouped(layer.number("weight_bits")))]
    said += [layer.text(key) for key in ("act_algo", "weight_algo") if key in layer]
    if "float_at_run_time" in layer:
        said.append(words("float.at.run.time"))
    return ", ".join(filter(None, said))


def _table(words: Words, quantized: list[Part]) -> Markup:
    rows: list[list[Cell]] = []
    for layer in quantized:
        low, high = layer.number("scale_w_min"), layer.number("scale_w_max")
        rows.append(
            [
                layer.text("name"),
                layer.text("type"),
                Number(grouped(layer.number("weight_bits")), layer.number("weight_bits")),
                layer.text("act_algo"),
                Number(significant(layer.number("scale_d")), layer.number("scale_d")),
                Number(fixed(layer.number("offset_d"), 0), layer.number("offset_d")),
                layer.text("weight_algo"),
                Number(grouped(layer.number("weight_scales")), layer.number("weight_scales")),
                Number(significant(low), low),
                Number(significant(high), high),
            ]
        )
    heads = [
        *(words(key) for key in ("layer", "operator", "bits", "observer")),
        "scale_d",
        "offset_d",
        words("weight.algorithm"),
        words("scales"),
        "scale_w min",
        "scale_w max",
    ]
    return table(words, words("layers.table"), heads, rows)


def _layer(words: Words, name: str, facts: str, values: Part | None) -> Markup | None:
    if values is None:
        return None
    plots = [
        histogram(words, values.part(key), words(title))
        for key, title in (("weight", "weights"), ("activation", "activations"))
        if key in values
    ]
    shown = [each for each in plots if each is not None]
    if not shown:
        return None
    missing = None if len(shown) == 2 else element("p", words("layer.missing"), class_="note")
    summary = element("summary", element("span", name, class_="name"), " ", element("span", facts, class_="facts"))
    return element("details", summary, element("div", *shown, class_="plots"), missing, class_="layer")
