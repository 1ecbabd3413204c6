"""What each layer costs, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from amctq.cli.blocks import FoundList
from amctq.cli.table import TextTable

if TYPE_CHECKING:
    from rich.console import RenderableType


def sensitivity_tables(report: Mapping[str, Any], *, limit: int | None = None) -> list[RenderableType]:
    """Make the table of the layers, the worst first, and say how it is sorted.

    Args:
        report: with the sections ``analysis`` and ``sensitivity``.
        limit: the most rows; None for all.
    """
    about, layers = report["analysis"], report["sensitivity"]
    classes, metric = about["kl"] is not None, about["metric"]
    columns = ["layer", "bits", *(["KL"] if classes else ()), *([] if metric is None else [f"{_label(metric)} drop"])]
    columns += ["output dB", "layer dB", "weights dB", "input dB"]
    return [
        TextTable(
            title="what each layer costs",
            columns=columns,
            rows=[tuple(_cells(layer, metric, classes=classes)) for layer in layers[:limit]],
            right=range(1, len(columns)),
        ),
        FoundList(rows=tuple(_found(about, len(layers), limit))),
    ]


def _cells(layer: Mapping[str, Any], metric: Mapping[str, Any] | None, *, classes: bool) -> Iterator[str]:
    yield layer["layer"]
    yield str(layer["weight_bits"])
    if classes:
        yield _number(layer["kl"], ".1e")
    if metric is not None:
        yield _number(layer["score_drop"], f".{metric['digits']}f")
    yield _number(layer["sqnr_db"], ".1f")
    own = layer["output"] or {}
    for key in ("sqnr_db", "weights_only_sqnr_db", "activations_only_sqnr_db"):
        yield _number(own.get(key), ".1f")


def _found(about: Mapping[str, Any], layers: int, limit: int | None) -> Iterator[tuple[str, str]]:
    yield (
        "layers",
        f"each quantized alone, on {about['samples']:,} training samples that did not calibrate",
    )
    how = "the KL divergence of the classes" if about["order"] == "kl" else "the error at the network's output"
    yield (
        "sorted by",
        how if limit is None or layers <= limit else f"{how}; {limit} of {layers} are shown, report.json has all",
    )
    whole = f"output {_number(about['sqnr_db'], '.1f')} dB"
    if about["class_changes"] is not None:
        whole += f", {100 * about['class_changes']:.1f} % of the classes change"
    metric = about["metric"]
    if metric is not None and about["quantized"] is not None:
        before, after = (f"{about[stage][metric['key']]:.{metric['digits']}f}" for stage in ("float", "quantized"))
        whole += f", {_label(metric)} {before} in float and {after} quantized on these samples, which is no accuracy"
    yield "all quantized", whole


def _label(metric: Mapping[str, Any]) -> str:
    return str(metric["title"]).partition(",")[0]


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
