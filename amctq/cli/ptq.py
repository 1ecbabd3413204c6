"""``amctq ptq``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from amctq.choices import ActAlgo, ActType, BackendName, Device
from amctq.cli import options
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
    num_classes: options.NumClasses = 10,
    calib_images: Annotated[
        int, option("--calib-images", panel=QUANTIZATION, min=1, help="Training images that calibrate.")
    ] = 32,
    act_algo: Annotated[
        ActAlgo, option("--act-algo", panel=QUANTIZATION, help="Observer of activations.")
    ] = ActAlgo.MINMAX,
    act_type: Annotated[
        ActType,
        option("--act-type", panel=QUANTIZATION, help="Integer type of activations in ONNX; int8 is slow on x86."),
    ] = ActType.UINT8,
    max_drop: Annotated[
        float | None,
        option(
            "--max-drop",
            panel=RUN,
            metavar="POINTS",
            help="Fail (exit 5) when top-1 drops by more percentage points.",
        ),
    ] = None,
    allow_poor_float: Annotated[
        bool,
        option("--allow-poor-float", panel=RUN, help="Go on although the float network hardly beats chance."),
    ] = False,
    eval_images: options.EvalImages = "all",  # type: ignore[assignment]  # Typer parses the default too
    batch_size: options.BatchSize = 32,
    seed: options.Seed = 1,
    backend: options.Backend = BackendName.AUTO,
    device: options.DeviceName = Device.AUTO,
    device_id: options.DeviceId = None,
    export: options.Export = ["onnx"],  # noqa: B006  # Typer copies it
    output_dir: options.OutputDir = Path("results"),
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Quantize a trained network to INT8 without retraining, and measure what that costs.

    Calibrates on training images, writes MODEL_quant.onnx, runs it on the test images in onnxruntime, and reports
    its accuracy, size and speed beside the float network's.

    Example: amctq ptq --dataset data --ckpt resnet20.ckpt --model resnet20 --calib-images 320
    """
    forms = options.formats(export)
    output = Output(command="ptq", as_json=as_json, quiet=quiet, verbose=verbose, failure_tables=_tables)
    with running(output):
        from amctq.services.ptq import PtqRequest
        from amctq.services.ptq import ptq as service
        from amctq.services.report import ptq_report

        request = PtqRequest(
            dataset=dataset,
            ckpt=ckpt,
            model=model,
            image_size=image_size,
            num_classes=num_classes,
            calib_images=calib_images,
            batch_size=batch_size,
            eval_images=None if eval_images < 0 else eval_images,
            act_algo=act_algo,
            act_type=act_type,
            export=forms,
            backend=backend,
            device=device,
            device_id=device_id,
            max_drop=max_drop,
            allow_poor_float=allow_poor_float,
            seed=seed,
            output_dir=output_dir,
            force=force,
        )
        result = service(request, output.event)
        report = ptq_report(result)
    output.result(CommandResult(data=report, tables=lambda: _tables(report), artifacts=result.artifacts))


def _tables(report: Mapping[str, Any]) -> list[RenderableType]:
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
    table.add_row(
        "file, bytes",
        f"{files['float_onnx_bytes']:,}",
        f"{files['int8_onnx_bytes']:,}",
        f"{files['ratio']:.3f} x",
    )
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
    lines.append(
        f"{len(quantization['layers'])} layers quantized, placement {quantization['placement']}; calibrated with "
        f"{quantization['act_algo']} on {data['calibration']['images']:,} images of "
        f"{', '.join(data['calibration']['files'])} (seed {data['seed']})"
    )
    speed = report["timing"].get("images_per_second")
    if speed is not None and speed["ratio"] < 1:
        lines.append("an ascend-placed file is for an NPU and for proof, not for speed on this CPU")
    failed = [check["name"] for check in report["checks"] if not check["passed"]]
    lines.append(f"checks failed: {', '.join(failed)}" if failed else f"{len(report['checks'])} checks passed")
    seconds = sum(report["timing"]["seconds"].values())
    lines.append(f"{seconds:.1f} s on {report['environment']['device']}")
    return lines
