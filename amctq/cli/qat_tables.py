"""The output of quantization-aware training without ``--json``, on one device or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from amctq.cli.exported import file_sentences
from amctq.cli.measured import accuracy_rows, drop_sentence, fidelity_rows, metric_of
from amctq.cli.widths import width_name

if TYPE_CHECKING:
    from rich.console import RenderableType

    from amctq.inference.metrics.score import MetricName


def failure_tables(data: Mapping[str, Any]) -> list[RenderableType]:
    """Make the tables for a failed check; empty if a worker failed."""
    return tables(data) if "accuracy" in data else []


def tables(report: Mapping[str, Any]) -> list[RenderableType]:
    """Make the tables of the report: float, PTQ and QAT."""
    from rich.table import Table

    files, accuracy = report["files"], report["accuracy"]
    name = width_name(report["quantization"])
    table = Table(title=f"{report['model']['name']}, {name} retrained", title_justify="left")
    for column in ("", "float", "PTQ", "QAT", "QAT against float"):
        table.add_column(column, justify="right" if column else "left")
    if accuracy is not None:
        trained = accuracy["int8"] or accuracy["training_network"]
        for row in accuracy_rows(accuracy, (accuracy["float"], accuracy["ptq"], trained)):
            table.add_row(*row)
    for form, file in files.items():
        sizes = f"{file['float_bytes']:,}", "", f"{file['int8_bytes']:,}"
        table.add_row(f"{form}, bytes", *sizes, f"{file['ratio']:.3f} x")
    return [table, *_sentences(report)]


def _sentences(report: Mapping[str, Any]) -> list[str]:
    accuracy, data, training = report["accuracy"], report["data"], report["training"]
    recipe, quantization = training["recipe"], report["quantization"]
    lines = []
    if report["not_run"]:
        lines.append(
            f"not run: {', '.join(report['not_run'])}: an AIR file runs on an NPU, after ATC has "
            "compiled it; the accuracy is that of AMCT's training network"
        )
    elif accuracy is not None:
        metric, test = metric_of(accuracy), accuracy["mcnemar_p"]
        same = accuracy["agreement"]
        agreement = (
            ""
            if same is None
            else f"; the exported file names the same class on {same['percent']:.2f} % of {accuracy['images']:,} images"
        )
        lines += [
            f"{drop_sentence(accuracy)}{'' if test is None else f', McNemar p = {test:.2g}'}",
            f"training network {metric.shown(accuracy['training_network'][metric.key])}{agreement}",
        ]
    if accuracy is not None:
        lines.append(_gain(accuracy["gain_over_ptq"], metric_of(accuracy), quantization["started_from_weight_algo"]))
    if report["fidelity"] is not None:
        lines += [f"{name} {text}" for name, text in fidelity_rows(report["fidelity"])]
    taught = ", taught by the float network" if recipe["distillation"] else ""
    widths = sorted({layer["weight_bits"] for layer in quantization["layers"]})
    lines.append(
        f"{len(quantization['layers'])} layers with weights of {' and '.join(map(str, widths))} bits, "
        f"{len(quantization['left_in_float'])} left in float; {training['steps']:,} steps of {recipe['batch_size']} of "
        f"{data['training']['images']:,} images of {', '.join(data['training']['sources'])} (seed {data['seed']}), "
        f"recipe {recipe['name']}{taught}, epoch {training['exported_epoch']} of {training['epochs']} exported"
    )
    lines += file_sentences(report)
    failed = [check["name"] for check in report["checks"] if not check["passed"]]
    lines.append(f"checks failed: {', '.join(failed)}" if failed else f"{len(report['checks'])} checks passed")
    lines.append(f"{sum(report['timing']['seconds'].values()):.1f} s on {report['environment']['device']}")
    return lines


def _gain(gain: Mapping[str, Any], metric: MetricName, algorithms: Sequence[str] | None) -> str:
    """Whether training was worth it."""
    start = "PTQ by the record" if algorithms is None else f"PTQ ({' and '.join(algorithms)})"
    key, digits, ends = metric.key, metric.digits, gain[f"{metric.key}_gain_95"]
    interval = f"{gain[f'{key}_gain']:+.{digits}f}{metric.unit_behind}"
    if ends is not None:
        interval += f" (95 % interval {ends[0]:+.{digits}f} to {ends[1]:+.{digits}f})"
    if gain["verdict"] == "gained":
        return f"training gained over {start}: {interval}"
    if gain["verdict"] == "lost":
        return f"training did not gain, it lost against {start}: {interval}; amctq ptq alone is better than this run"
    return f"training did not gain over {start}, as far as these images show: {interval}"
