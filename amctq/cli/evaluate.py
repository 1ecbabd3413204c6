"""``amctq evaluate``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from amctq.choices import Device
from amctq.cli import options
from amctq.cli.options import INPUT, option
from amctq.cli.output import CommandResult, Output, running

if TYPE_CHECKING:
    from rich.console import RenderableType

COMMAND_CLASS = options.aliases(
    dataset_path="dataset",
    eval_dataset="dataset",
    checkpoint_path="ckpt",
    pre_trained="ckpt",
    device_target="device",
    net="model",
)


def evaluate(
    dataset: options.Dataset,
    ckpt: Annotated[Path | None, option("--ckpt", panel=INPUT, metavar="FILE", help="MindSpore checkpoint.")] = None,
    onnx: Annotated[
        Path | None, option("--onnx", panel=INPUT, metavar="FILE", help="Exported model: float, INT8, or for atc.")
    ] = None,
    mindir: Annotated[
        Path | None,
        option("--mindir", panel=INPUT, metavar="FILE", help="Exported model in MindSpore's format, float or INT8."),
    ] = None,
    model: options.Model = "resnet50",
    image_size: options.ImageSize = None,
    mean: options.Mean = None,
    std: options.Std = None,
    num_classes: options.NumClasses = 10,
    eval_images: options.EvalImages = "all",  # type: ignore[assignment]  # Typer parses the default too
    batch_size: options.BatchSize = 32,
    device: options.DeviceName = Device.AUTO,
    device_id: options.DeviceId = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Measure the accuracy of a checkpoint or of an exported file on test images.

    A file that amctq has exported says itself how its images are prepared.

    Example: amctq evaluate --dataset data --onnx results/resnet20_quant.onnx
    """
    output = Output(command="evaluate", as_json=as_json, quiet=quiet, verbose=verbose)
    with running(output):
        from amctq.services.evaluate import EvaluateRequest
        from amctq.services.evaluate import evaluate as service

        request = EvaluateRequest(
            dataset=dataset,
            ckpt=ckpt,
            onnx=onnx,
            mindir=mindir,
            model=model,
            image_size=image_size,
            mean=mean,
            std=std,
            num_classes=num_classes,
            eval_images=options.count_or_none(eval_images),
            batch_size=batch_size,
            device=device,
            device_id=device_id,
        )
        data = service(request, output.event).data()
    output.result(CommandResult(data=data, tables=lambda: tables(data)))


def tables(data: Mapping[str, Any]) -> list[RenderableType]:
    """What was measured, for people."""
    accuracy, timing = data["accuracy"], data["timing"]
    return [
        f"{data['file']}: top-1 {accuracy['top1']:.2f} %, top-5 {accuracy['top5']:.2f} % of "
        f"{accuracy['images']:,} images ({', '.join(data['data']['evaluation']['sources'])}), "
        f"{timing['images_per_second']:,.0f} images/s"
    ]
