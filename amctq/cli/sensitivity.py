"""What each layer costs, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from amctq.cli.blocks import FoundList
from amctq.cli.measured import metric_of
from amctq.cli.table import TextTable

if TYPE_CHECKING:
    from rich.console import RenderableType


def sensitivity_blocks(report: Mapping[str, Any], *, limit: int | None = None) -> list[RenderableType]:
    """Make the table of the layers, the worst first, and say how it is sorted.

    Args:
        report: with the sections ``analysis`` and ``sensitivity``.
        limit: the most rows; None for all.
    """
    about, layers = report["analysis"], report["sensitivity"]
    has_classes, metric = about["kl"] is not None, None if about["metric"] is None else metric_of(about)
    heads = ["layer", "bits", *(["KL"] if has_classes else ())]
    heads += [] if metric is None else [f"{metric.label} drop"]
    heads += ["output dB", "layer dB", "weights dB", "input dB"]
    rows = []
    for layer in layers[:limit]:
        own = layer["output"] or {}
        cells = [layer["layer"], str(layer["weight_bits"])]
        if has_classes:
            cells.append(_number(layer["kl"], ".1e"))
        if metric is not None:
            cells.append("" if layer["score_drop"] is None else metric.text(layer["score_drop"]))
        cells += [
            _number(value, ".1f")
            for value in (
                layer["sqnr_db"],
                own.get("sqnr_db"),
                own.get("weights_only_sqnr_db"),
                own.get("activations_only_sqnr_db"),
            )
        ]
        rows.append(cells)
    table = TextTable(columns=heads, rows=rows, right=range(1, len(heads)), title="what each layer costs")
    return [table, FoundList(rows=_found(about, len(layers), limit))]


def _found(about: Mapping[str, Any], layers: int, limit: int | None) -> list[tuple[str, str]]:
    how = "the KL divergence of its classes" if about["order"] == "kl" else "the error at the network's output"
    shown = "" if limit is None or layers <= limit else f"; {limit} of {layers} layers are shown, report.json has all"
    alone = f"on {about['samples']:,} training samples that did not calibrate; sorted by {how}{shown}"
    whole = f"output {_number(about['sqnr_db'], '.1f')} dB"
    if about["class_changes"] is not None:
        whole += f", {100 * about['class_changes']:.1f} % of the classes change"
    if about["metric"] is not None and about["quantized"] is not None:
        metric = metric_of(about)
        before, after = (metric.text(about[stage][metric.key]) for stage in ("float", "quantized"))
        whole += f", {metric.label} {before} in float and {after} quantized (training samples: no accuracy)"
    return [("each layer alone", alone), ("all quantized", whole)]


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
