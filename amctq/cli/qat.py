"""``amctq qat``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import amctq
from amctq.cli import evaluate as float_accuracy
from amctq.cli import launch_distributed
from amctq.cli.blocks import FoundList
from amctq.cli.output import CommandResult, Output
from amctq.cli.qat_sample import qat_command
from amctq.cli.qat_tables import tables
from amctq.errors import UsageError
from amctq.services.option import INPUT, RUN, Option

if TYPE_CHECKING:
    from rich.console import RenderableType

_NO = {"", "0", "false", "no"}


# The names are the options for the positional words of run_standalone_train_sample.sh.
@qat_command(lambda: amctq.QatRequest, "model", "dataset", "train-dataset", "eval-dataset", "ckpt")
def qat(
    make: Callable[[], amctq.QatRequest],
    output: Output,
    *,
    distributed: Annotated[
        int | None, Option(RUN, "Train on N devices of this machine.", min=1, metavar="N", aliases=("device_num",))
    ] = None,
    rank_table: Annotated[Path | None, Option(INPUT, "Train on the devices of a rank table.", metavar="FILE")] = None,
    original: Annotated[bool, Option(RUN, "Only measure the float checkpoint.")] = False,
    dry_run: Annotated[bool, Option(RUN, "Check every input and show the plan. Write nothing.")] = False,
    run_distribute: Annotated[str | None, Option(RUN, hidden=True)] = None,
) -> CommandResult:
    """Retrain a network with quantizers, when post-training quantization loses too much accuracy.

    Starts from a PTQ record (or a calibration), writes checkpoints that --resume can continue from, exports
    MODEL_quant_retrain.onnx, and reports its accuracy next to that of float and of PTQ.

    Example: amctq qat --dataset data --ckpt resnet20.ckpt --model resnet20 --epochs 2
    """
    request = make()
    several = rank_table is not None or (distributed or 1) > 1
    if several and run_distribute is not None and run_distribute.strip().lower() in _NO:
        message = f"--run-distribute {run_distribute} and more than one device contradict each other"
        raise UsageError(message, hint="leave one of the two out")
    if original:
        from amctq.services.evaluate_request import original_request

        measured = amctq.evaluate(original_request(request), output.event).data() | {"command": "qat"}
        return CommandResult(data=measured, tables=lambda: float_accuracy.tables(measured))
    if several:
        launch = amctq.LaunchRequest(qat=request, workers=distributed, rank_table=rank_table)
        return launch_distributed.answer(launch, dry_run, output)
    if dry_run:
        preview = amctq.preview_qat(request, output.event).data()
        return CommandResult(data=preview, tables=lambda: _preview_tables(preview))

    result = amctq.qat(request, output.event)
    report = result.data()
    return CommandResult(data=report, tables=lambda: tables(report), artifacts=result.artifacts)


def _preview_tables(preview: Mapping[str, Any]) -> list[RenderableType]:
    """Make the list of the preview."""
    recipe = preview["recipe"]
    quantized = [layer for layer in preview["layers"] if layer["quantized"]]
    widths = sorted({layer["weight_bits"] for layer in quantized})
    skipped = [layer for layer in preview["layers"] if not layer["quantized"]]
    resumed = f", from step {preview['resumes_at']:,} on" if preview["resumes_at"] is not None else ""
    found = [
        *(("stays in float", f"{layer['name']}: {layer['why_in_float']}") for layer in skipped),
        *(("stays in float", f"{layer['name']}: {layer['reason']}") for layer in preview["left_in_float"]),
        (
            f"recipe {recipe['name']}",
            f"{recipe['steps']:,} steps of {recipe['batch_size']} images, {recipe['epochs']} epochs, learning rate "
            f"{recipe['lr_init']:g} to {recipe['lr_max']:g} in {recipe['warmup_steps']:,} steps, "
            f"then {recipe['lr_decay']}",
        ),
        (
            "images",
            f"{preview['training_images']:,} training images, {preview['calibration_images']:,} calibration images, "
            f"{preview['evaluation_images']:,} evaluation images",
        ),
        (
            "time",
            f"about {preview['estimated_seconds']:.0f} s on {preview['device']} with back end {preview['backend']}",
        ),
        ("would write", ", ".join(preview["files"])),
    ]
    return [
        f"would retrain {len(quantized)} layers with weights of {' and '.join(map(str, widths))} bits{resumed}",
        FoundList(rows=found),
    ]
