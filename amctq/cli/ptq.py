"""``amctq ptq``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import amctq
from amctq.choices import Placement, TargetIsa
from amctq.cli.exported import file_sentences
from amctq.cli.from_request import command
from amctq.cli.measured import accuracy_rows, drop_sentence, fidelity_rows
from amctq.cli.output import CommandResult, Output
from amctq.cli.sensitivity import sensitivity_tables
from amctq.cli.widths import width_name, with_spread
from amctq.services.option import RUN, Option

if TYPE_CHECKING:
    from rich.console import RenderableType


def report_tables(report: Mapping[str, Any]) -> list[RenderableType]:
    """Make the tables of the report: float and quantized."""
    from rich.table import Table

    files, accuracy = report["files"], report["accuracy"]
    name = width_name(report["quantization"])
    table = Table(title=f"{report['model']['name']}, {name}", title_justify="left")
    for column in ("", "float", name, f"{name} against float" if name == "INT8" else "against float"):
        table.add_column(column, justify="right" if column else "left")
    if accuracy is not None:
        for row in accuracy_rows(accuracy, (accuracy["float"], accuracy["int8"])):
            table.add_row(*row)
    for form, file in files.items():
        sizes = f"{file['float_bytes']:,}", f"{file['int8_bytes']:,}"
        table.add_row(f"{form}, bytes", *sizes, f"{file['ratio']:.3f} x")
    speed = report["timing"].get("images_per_second")
    if speed is not None:
        table.add_row("images/s", with_spread(speed, "float"), with_spread(speed, "int8"), f"{speed['ratio']:.2f} x")
    layers = [] if "sensitivity" not in report else sensitivity_tables(report, limit=10)
    return [table, *layers, *_sentences(report)]


def _sentences(report: Mapping[str, Any]) -> list[str]:
    accuracy, data, quantization = report["accuracy"], report["data"], report["quantization"]
    lines = []
    if accuracy is not None:
        hits = f" on {accuracy['images']:,} test samples"
        if accuracy["mcnemar_p"] is not None:
            hits = (
                f"; of {accuracy['images']:,} test images {accuracy['lost']} lost, {accuracy['gained']} gained, "
                f"McNemar p = {accuracy['mcnemar_p']:.2g}"
            )
        lines.append(f"{drop_sentence(accuracy)}{hits}")
    if report["fidelity"] is not None:
        lines += [f"{name} {text}" for name, text in fidelity_rows(report["fidelity"])]
        lines.append(
            f"on {report['fidelity']['samples']:,} samples; no metric was named, and nearness to float is no accuracy"
        )
    if report["not_run"]:
        lines.append(
            f"not run: {', '.join(report['not_run'])}: an AIR file runs on an NPU, after ATC has "
            "compiled it; the accuracy is that of amctq's ONNX graph on the scales of AMCT's record"
        )
    algos = sorted({layer["act_algo"] for layer in quantization["layers"] if layer["act_algo"]})
    calibration = "scales from the record"
    if algos:
        calibration = (
            f"calibrated with {' and '.join(algos)} on {data['calibration']['images']:,} images of "
            f"{', '.join(data['calibration']['sources'])} (seed {data['seed']})"
        )
    widths = sorted({layer["weight_bits"] for layer in quantization["layers"]})
    narrow = "" if widths == [8] else f"weights of {' and '.join(map(str, widths))} bits; "
    pools = f" and {len(quantization['pools'])} average pools" if quantization["pools"] else ""
    lines.append(
        f"{len(quantization['layers'])} layers{pools} quantized, {len(quantization['left_in_float'])} left in float, "
        f"placement {quantization['placement']}; {narrow}{calibration}"
    )
    own = report["simulation"]
    if own is not None and "mindir" in report["files"]:
        lines.append(
            f"{own['through']} in MindSpore and the ONNX graph in onnxruntime name another class on "
            f"{own['argmax_differences']} of {own['images']:,} images"
            if accuracy is None or accuracy["metric"]["key"] == "top1"
            else f"{own['through']} in MindSpore and the ONNX graph in onnxruntime differ by "
            f"{own['mean_difference']:.1e} of the largest value in the mean"
        )
    speed = report["timing"].get("images_per_second")
    if speed is not None and speed["busy"]:
        lines.append(
            f"the machine is busy: the speed is the median of {speed['rounds']} runs, in brackets the slowest and the "
            "fastest"
        )
    if speed is not None and speed["ratio"] < 1:
        if quantization["placement"] == Placement.ASCEND.value:
            lines.append("an ascend-placed file is for an NPU and for proof, not for speed on this CPU")
        elif quantization["isa"] == TargetIsa.AVX2.value:
            lines.append("without VNNI exact 8-bit weights are no faster than float: --weight-bits 7 is")
    lines += file_sentences(report)
    failed = [check["name"] for check in report["checks"] if not check["passed"]]
    lines.append(f"checks failed: {', '.join(failed)}" if failed else f"{len(report['checks'])} checks passed")
    seconds = sum(report["timing"]["seconds"].values())
    lines.append(f"{seconds:.1f} s on {report['environment']['device']}")
    return lines


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
    """Make the tables of the preview."""
    from rich.table import Table

    table = Table(title="would quantize", title_justify="left")
    for column in ("layer", "type", "activations", "weights"):
        table.add_column(column)
    for layer in preview["layers"]:
        cells = ("from the record", "")
        if not layer["quantized"]:
            cells = ("float", layer["why_in_float"] or "")
        elif layer["weight_algo"]:
            has_rows = layer["type"] == "Embedding"
            scales = ("per row" if has_rows else "per channel") if layer["channel_wise"] else "per tensor"
            cells = (layer["act_algo"] or "none", f"{layer['weight_bits']} bits, {layer['weight_algo']}, {scales}")
        table.add_row(layer["name"], layer["type"], *cells)
    for pool in preview["pools"]:
        observed = pool["act_algo"] or "from the record"
        table.add_row(pool["name"], "AvgPool", observed if pool["quantized"] else "float", "")
    lines = [
        *(f"stays in float: {layer['name']}: {layer['reason']}" for layer in preview["left_in_float"]),
        f"{preview['calibration_images']:,} calibration images, {preview['evaluation_images']:,} evaluation images: "
        f"{preview['split']}",
        f"about {preview['estimated_seconds']:.0f} s on {preview['device']} with back end {preview['backend']}",
        f"would write {', '.join(preview['files'])}",
    ]
    return [table, *lines]
