"""The output of quantization-aware training without ``--json``, on one device or several."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from amctq.cli.blocks import FoundList
from amctq.cli.exported import file_rows, not_run_rows
from amctq.cli.figures import Figure, FigureTable
from amctq.cli.measured import (
    accuracy_figures,
    drop_row,
    fidelity_rows,
    metric_of,
    samples_row,
    size_figures,
    speed_figures,
    speed_rows,
)
from amctq.cli.summary import closing_rows, layers_row, verdict_of

if TYPE_CHECKING:
    from rich.console import RenderableType

    from amctq.inference.metrics.score import MetricName


def failure_tables(data: Mapping[str, Any]) -> list[RenderableType]:
    """Make the tables for a failed check; empty if a worker failed."""
    return tables(data) if "accuracy" in data else []


def tables(report: Mapping[str, Any]) -> list[RenderableType]:
    """Make the summary of the report: verdict, float against PTQ and QAT, and what was found."""
    accuracy, speed = report["accuracy"], report["timing"].get("images_per_second")
    stages: Iterable[Figure] = ()
    if accuracy is not None:
        trained = accuracy["int8"] or accuracy["training_network"]
        stages = accuracy_figures(accuracy, (accuracy["float"], accuracy["ptq"], trained))
    figures = (*stages, *size_figures(report["files"], between=1), *speed_figures(speed, between=1))
    return [
        verdict_of(report),
        FigureTable(stages=("float", "PTQ", "QAT"), rows=figures),
        FoundList(rows=tuple(_found(report))),
    ]


def _found(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    accuracy, data, training = report["accuracy"], report["data"], report["training"]
    recipe, quantization = training["recipe"], report["quantization"]
    yield from not_run_rows(report, "AMCT's training network")
    if accuracy is not None and not report["not_run"]:
        metric = metric_of(accuracy)
        yield from (drop_row(accuracy), samples_row(accuracy))
        yield "training network", metric.shown(accuracy["training_network"][metric.key])
        if accuracy["agreement"] is not None:
            percent = accuracy["agreement"]["percent"]
            yield "exported file", f"names the class of the training network on {percent:.2f} % of the images"
    if accuracy is not None:
        text = _gain(accuracy["gain_over_ptq"], metric_of(accuracy), quantization["started_from_weight_algo"])
        yield "against PTQ", text
    if report["fidelity"] is not None:
        yield from fidelity_rows(report["fidelity"])
    yield layers_row(report)
    taught = ", taught by the float network" if recipe["distillation"] else ""
    yield (
        "training",
        f"{training['steps']:,} steps of {recipe['batch_size']} of {data['training']['images']:,} images of "
        f"{', '.join(data['training']['sources'])} (seed {data['seed']}), recipe {recipe['name']}{taught}, "
        f"epoch {training['exported_epoch']} of {training['epochs']} exported",
    )
    yield from speed_rows(report["timing"].get("images_per_second"), ("float", "QAT"))
    yield from file_rows(report)
    yield from closing_rows(report)


def _gain(gain: Mapping[str, Any], metric: MetricName, algorithms: Sequence[str] | None) -> str:
    """Whether training was worth it."""
    start = "PTQ by the record" if algorithms is None else f"PTQ ({' and '.join(algorithms)})"
    interval, ends = metric.difference(gain[f"{metric.key}_gain"], sign=True), gain[f"{metric.key}_gain_95"]
    if ends is not None:
        interval += f" (95 % interval {metric.ends(ends, sign=True)})"
    if gain["verdict"] == "gained":
        return f"training gained over {start}: {interval}"
    if gain["verdict"] == "lost":
        return f"training did not gain, it lost against {start}: {interval}; amctq ptq alone is better than this run"
    return f"training did not gain over {start}, as far as these images show: {interval}"
