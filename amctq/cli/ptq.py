"""``amctq ptq``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import amctq
from amctq.cli.bits import bits_rows
from amctq.cli.blocks import FoundList
from amctq.cli.exported import file_rows, not_run_rows
from amctq.cli.fallback import fallback_row
from amctq.cli.figures import FigureTable
from amctq.cli.from_request import command
from amctq.cli.measured import (
    accuracy_figures,
    drop_row,
    fidelity_rows,
    samples_row,
    size_figures,
    speed_figures,
    speed_rows,
)
from amctq.cli.output import CommandResult, Output
from amctq.cli.sensitivity import sensitivity_blocks
from amctq.cli.summary import closing_rows, layers_row, verdict_of
from amctq.cli.table import TextTable
from amctq.services.option import RUN, Option
from amctq.services.run.verdict import width_name

if TYPE_CHECKING:
    from rich.console import RenderableType


def report_tables(report: Mapping[str, Any], more: Sequence[tuple[str, str]] = ()) -> list[RenderableType]:
    """Make the summary of the report: verdict, float against quantized, and what was found, ``more`` of it first."""
    accuracy, name = report["accuracy"], width_name(report["quantization"])
    stages = () if accuracy is None else accuracy_figures(accuracy, (accuracy["float"], accuracy["int8"]))
    speed = report["timing"].get("images_per_second")
    figures = (*stages, *size_figures(report["files"]), *speed_figures(speed))
    layers = [] if "sensitivity" not in report else sensitivity_blocks(report, limit=10)
    return [
        verdict_of(report),
        FigureTable(stages=("float", name), rows=figures),
        *layers,
        FoundList(rows=(*more, *_found(report))),
    ]


def _found(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    accuracy, data, quantization = report["accuracy"], report["data"], report["quantization"]
    if accuracy is not None:
        yield from (drop_row(accuracy), samples_row(accuracy))
    if report["fidelity"] is not None:
        yield from fidelity_rows(report["fidelity"])
    yield from not_run_rows(report)
    yield layers_row(report)
    yield from bits_rows(report)
    if "fallback" in report:
        yield fallback_row(report)
    algos = sorted({layer["act_algo"] for layer in quantization["layers"] if layer["act_algo"]})
    yield (
        "calibration",
        f"{' and '.join(algos)} on {data['calibration']['images']:,} images of "
        f"{', '.join(data['calibration']['sources'])} (seed {data['seed']})"
        if algos
        else "scales from the record",
    )
    own = report["simulation"]
    if own is not None and "mindir" in report["files"]:
        yield (
            "MindSpore",
            f"{own['through']} there and the ONNX graph in onnxruntime name another class on "
            f"{own['argmax_differences']} of {own['images']:,} images"
            if accuracy is None or accuracy["metric"]["key"] == "top1"
            else f"{own['through']} there and the ONNX graph in onnxruntime differ by "
            f"{own['mean_difference']:.1e} of the largest value in the mean",
        )
    yield from speed_rows(report["timing"].get("images_per_second"), ("float", width_name(quantization)))
    yield from file_rows(report)
    yield from closing_rows(report)


@command(lambda: amctq.PtqRequest, failure_tables=report_tables)
def ptq(
    make: Callable[[], amctq.PtqRequest],
    output: Output,
    *,
    dry_run: Annotated[
        bool, Option(RUN, "Check every input and show the plan. Write nothing.", after="simulate")
    ] = False,
) -> CommandResult:
    """Quantize a trained network to INT8 without retraining, and measure the loss of accuracy.

    Calibrates on training images, writes MODEL_quant.onnx (or what --export names), runs it on the test images, and
    reports accuracy, size and speed next to those of the float network.

    Example: amctq ptq --dataset data --ckpt resnet20.ckpt --model resnet20 --calib-images 320
    """
    request = make()
    if dry_run:
        preview = amctq.preview_ptq(request, output.event).data()
        return CommandResult(data=preview, tables=lambda: _preview_tables(preview))

    result = amctq.ptq(request, output.event)
    report = result.data()
    return CommandResult(data=report, tables=lambda: report_tables(report), artifacts=result.artifacts)


def _preview_tables(preview: Mapping[str, Any]) -> list[RenderableType]:
    """Make the table of the preview, and what else would be."""
    rows = []
    for layer in preview["layers"]:
        cells = ("from the record", "")
        if not layer["quantized"]:
            cells = ("float", layer["why_in_float"] or "")
        elif layer["weight_algo"]:
            has_rows = layer["type"] == "Embedding"
            scales = ("per row" if has_rows else "per channel") if layer["channel_wise"] else "per tensor"
            width = "bits by layer" if layer["weight_bits"] == "auto" else f"{layer['weight_bits']} bits"
            cells = (layer["act_algo"] or "none", f"{width}, {layer['weight_algo']}, {scales}")
        rows.append((layer["name"], layer["type"], *cells))
    for pool in preview["pools"]:
        observed = pool["act_algo"] or "from the record"
        rows.append((pool["name"], "AvgPool", observed if pool["quantized"] else "float", ""))
    found = [
        *(("stays in float", f"{layer['name']}: {layer['reason']}") for layer in preview["left_in_float"]),
        (
            "images",
            f"{preview['calibration_images']:,} calibration images, {preview['evaluation_images']:,} evaluation "
            f"images: {preview['split']}",
        ),
        (
            "time",
            f"about {preview['estimated_seconds']:.0f} s on {preview['device']} with back end {preview['backend']}",
        ),
        ("would write", ", ".join(preview["files"])),
    ]
    return [
        f"would quantize {sum(layer['quantized'] for layer in preview['layers'])} layers",
        TextTable(columns=("layer", "type", "activations", "weights"), rows=rows),
        FoundList(rows=found),
    ]
