"""``amctq ptq``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from amctq.choices import (
    ActAlgo,
    ActType,
    ArqRule,
    BackendName,
    Device,
    IfmrVariant,
    Placement,
    TargetIsa,
    WeightAlgo,
    WeightStorage,
)
from amctq.cli import options
from amctq.cli.exported import file_sentences
from amctq.cli.options import QUANTIZATION, RUN, option
from amctq.cli.output import CommandResult, Output, running

if TYPE_CHECKING:
    from rich.console import RenderableType

COMMAND_CLASS = options.aliases(
    dataset_path="dataset", checkpoint_path="ckpt", pre_trained="ckpt", device_target="device", net="model"
)


def ptq(
    dataset: options.Dataset,
    ckpt: options.Ckpt,
    model: options.Model = "resnet50",
    image_size: options.ImageSize = None,
    mean: options.Mean = None,
    std: options.Std = None,
    num_classes: options.NumClasses = 10,
    calib_images: Annotated[
        int | None,
        option("--calib-images", panel=QUANTIZATION, min=1, help="Training images that calibrate.  [default: 32]"),
    ] = None,
    config: Annotated[
        Path | None,
        option("--config", panel=QUANTIZATION, metavar="FILE", help="AMCT's config.json, or its simplified .cfg."),
    ] = None,
    record: Annotated[
        Path | None,
        option(
            "--record", panel=QUANTIZATION, metavar="FILE", help="AMCT's calibration_record.txt: no calibration then."
        ),
    ] = None,
    act_algo: Annotated[
        ActAlgo | None,
        option("--act-algo", panel=QUANTIZATION, help="Observer of activations.  [default: ifmr]"),
    ] = None,
    ifmr_variant: Annotated[
        IfmrVariant,
        option("--ifmr-variant", panel=QUANTIZATION, help="AMCT's open code, or the operator of Ascend NPUs."),
    ] = IfmrVariant.EXACT,
    act_symmetric: Annotated[
        bool, option("--act-symmetric", panel=QUANTIZATION, help="Activations with zero point 0.")
    ] = False,
    per_tensor: Annotated[
        bool, option("--per-tensor", panel=QUANTIZATION, help="One weight scale for each layer, not for each channel.")
    ] = False,
    weight_bits: Annotated[
        int | None,
        option("--weight-bits", panel=QUANTIZATION, metavar="8|7|6|4", help="Width of the weights.  [default: 8]"),
    ] = None,
    weight_algo: Annotated[
        WeightAlgo | None,
        option(
            "--weight-algo",
            panel=QUANTIZATION,
            help="Weight scale: by the largest weight, or of least squared error.  [default: arq]",
        ),
    ] = None,
    arq_rule: Annotated[
        ArqRule, option("--arq-rule", panel=QUANTIZATION, help="Weight scale: AMCT's, or that of Ascend's WtsARQ.")
    ] = ArqRule.AMCT,
    skip_layer: Annotated[
        list[str],
        option("--skip-layer", panel=QUANTIZATION, metavar="PATTERN", help="Leave these layers in float; repeatable."),
    ] = [],  # noqa: B006  # Typer copies it
    placement: Annotated[
        Placement | None,
        option(
            "--placement",
            panel=QUANTIZATION,
            help="Which activations are integers: ort for speed on CPUs, ascend as AMCT does it.  "
            "[default: ort; ascend with --record]",
        ),
    ] = None,
    act_type: Annotated[
        ActType,
        option("--act-type", panel=QUANTIZATION, help="Integer type of activations in ONNX; int8 is slow on x86."),
    ] = ActType.UINT8,
    weight_storage: Annotated[
        WeightStorage,
        option(
            "--weight-storage",
            panel=QUANTIZATION,
            help="How ONNX stores 4-bit weights: a byte each, or two to a byte at the same speed.",
        ),
    ] = WeightStorage.INT8,
    isa: Annotated[
        TargetIsa | None,
        option(
            "--isa",
            panel=QUANTIZATION,
            show_default="those of this CPU",
            help="x86 instructions to write ONNX for; avx2 is exact without VNNI too, and slower (see amctq doctor).",
        ),
    ] = None,
    max_drop: Annotated[
        float | None,
        option(
            "--max-drop", panel=RUN, metavar="POINTS", help="Fail (exit 5) when top-1 drops by more percentage points."
        ),
    ] = None,
    allow_poor_float: Annotated[
        bool, option("--allow-poor-float", panel=RUN, help="Go on although the float network hardly beats chance.")
    ] = False,
    simulate: Annotated[
        bool,
        option("--simulate", panel=RUN, help="Compare with MindSpore's own fake-quant forward on all images, not 256."),
    ] = False,
    dry_run: Annotated[
        bool, option("--dry-run", panel=RUN, help="Check every input and show the plan; write nothing.")
    ] = False,
    eval_images: options.EvalImages = "all",  # type: ignore[assignment]  # Typer parses the default too
    batch_size: options.BatchSize = 32,
    seed: options.Seed = 1,
    backend: options.Backend = BackendName.AUTO,
    device: options.DeviceName = Device.AUTO,
    device_id: options.DeviceId = None,
    export: options.Export = [],  # noqa: B006  # Typer copies it
    soc_version: options.SocVersion = None,
    output_dir: options.OutputDir = Path("results"),
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Quantize a trained network to INT8 without retraining, and measure what that costs.

    Calibrates on training images, writes MODEL_quant.onnx (or what --export names), runs it on the test images, and
    reports its accuracy, size and speed beside the float network's.

    Example: amctq ptq --dataset data --ckpt resnet20.ckpt --model resnet20 --calib-images 320
    """
    forms = options.formats(export)
    output = Output(command="ptq", as_json=as_json, quiet=quiet, verbose=verbose, failure_tables=report_tables)
    with running(output):
        from amctq.services.ptq.ptq import preview_ptq
        from amctq.services.ptq.ptq import ptq as service
        from amctq.services.ptq.report import ptq_report
        from amctq.services.ptq.request import PtqRequest

        request = PtqRequest(
            dataset=dataset,
            ckpt=ckpt,
            model=model,
            image_size=image_size,
            mean=mean,
            std=std,
            num_classes=num_classes,
            calib_images=calib_images,
            config=config,
            record=record,
            act_algo=act_algo,
            ifmr_variant=ifmr_variant,
            act_symmetric=act_symmetric,
            per_tensor=per_tensor,
            weight_bits=weight_bits,
            weight_algo=weight_algo,
            weight_storage=weight_storage,
            isa=isa,
            arq_rule=arq_rule,
            skip_layers=tuple(skip_layer),
            placement=placement,
            act_type=act_type,
            max_drop=max_drop,
            allow_poor_float=allow_poor_float,
            simulate=simulate,
            eval_images=options.count_or_none(eval_images),
            batch_size=batch_size,
            seed=seed,
            backend=backend,
            device=device,
            device_id=device_id,
            export=forms,
            soc_version=soc_version,
            output_dir=output_dir,
            force=force,
        )
        if dry_run:
            preview = preview_ptq(request, output.event).data()
            answer = CommandResult(data=preview, tables=lambda: _preview_tables(preview))
        else:
            result = service(request, output.event)
            report = ptq_report(result)
            answer = CommandResult(data=report, tables=lambda: report_tables(report), artifacts=result.artifacts)
    output.result(answer)


def _preview_tables(preview: Mapping[str, Any]) -> list[RenderableType]:
    """The plan for people."""
    from rich.table import Table

    table = Table(title="would quantize", title_justify="left")
    for column in ("layer", "type", "activations", "weights"):
        table.add_column(column)
    for layer in preview["layers"]:
        cells = ("from the record", "")
        if not layer["quantized"]:
            cells = ("float", "")
        elif layer["act_algo"]:
            scales = "per channel" if layer["channel_wise"] else "per tensor"
            cells = (layer["act_algo"], f"{layer['weight_bits']} bits, {layer['weight_algo']}, {scales}")
        table.add_row(layer["name"], layer["type"], *cells)
    lines = [
        *(f"stays in float: {layer['name']}: {layer['reason']}" for layer in preview["left_in_float"]),
        f"{preview['calibration_images']:,} calibration images, {preview['evaluation_images']:,} evaluation images: "
        f"{preview['split']}",
        f"about {preview['estimated_seconds']:.0f} s on {preview['device']} with back end {preview['backend']}",
        f"would write {', '.join(preview['files'])}",
    ]
    return [table, *lines]


def report_tables(report: Mapping[str, Any]) -> list[RenderableType]:
    """The report for people: what was gained and what it cost."""
    from rich.table import Table

    files, accuracy = report["files"], report["accuracy"]
    table = Table(title=f"{report['model']['name']}, INT8", title_justify="left")
    for column in ("", "float", "INT8", "INT8 against float"):
        table.add_column(column, justify="right" if column else "left")
    if accuracy is not None:
        drop = accuracy["int8"]["top1"] - accuracy["float"]["top1"]
        table.add_row("top-1, %", f"{accuracy['float']['top1']:.2f}", f"{accuracy['int8']['top1']:.2f}", f"{drop:+.2f}")
        drop = accuracy["int8"]["top5"] - accuracy["float"]["top5"]
        table.add_row("top-5, %", f"{accuracy['float']['top5']:.2f}", f"{accuracy['int8']['top5']:.2f}", f"{drop:+.2f}")
    for form, file in files.items():
        sizes = f"{file['float_bytes']:,}", f"{file['int8_bytes']:,}"
        table.add_row(f"{form}, bytes", *sizes, f"{file['ratio']:.3f} x")
    speed = report["timing"].get("images_per_second")
    if speed is not None:
        table.add_row("images/s", f"{speed['float']:,.0f}", f"{speed['int8']:,.0f}", f"{speed['ratio']:.2f} x")
    return [table, *_sentences(report)]


def _sentences(report: Mapping[str, Any]) -> list[str]:
    accuracy, data, quantization = report["accuracy"], report["data"], report["quantization"]
    lines = []
    if accuracy is not None:
        low, high = accuracy["top1_drop_95"]
        lines.append(
            f"top-1 drop {accuracy['top1_drop']:.2f} points (95 % interval {low:.2f} to {high:.2f}); of "
            f"{accuracy['images']:,} test images {accuracy['lost']} lost, {accuracy['gained']} gained, "
            f"McNemar p = {accuracy['mcnemar_p']:.2g}"
        )
    if report["not_run"]:
        lines.append(
            f"not run: {', '.join(report['not_run'])}: an AIR file runs on an NPU, behind ATC; the accuracy is that of "
            "amctq's ONNX graph on the scales of AMCT's record"
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
    lines.append(
        f"{len(quantization['layers'])} layers quantized, {len(quantization['left_in_float'])} left in float, "
        f"placement {quantization['placement']}; {narrow}{calibration}"
    )
    own = report["simulation"]
    if own is not None and "mindir" in report["files"]:
        lines.append(
            f"{own['through']} in MindSpore and the ONNX graph in onnxruntime name another class on "
            f"{own['argmax_differences']} of {own['images']:,} images"
        )
    speed = report["timing"].get("images_per_second")
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
