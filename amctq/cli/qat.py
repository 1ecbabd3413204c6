"""``amctq qat``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from amctq.cli import evaluate as float_accuracy
from amctq.cli import launch_distributed, options
from amctq.cli.options import INPUT, RUN, option
from amctq.cli.output import CommandResult, Output, running
from amctq.cli.qat_options import qat_command, with_qat_options
from amctq.cli.qat_tables import failure_tables, tables
from amctq.errors import UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

COMMAND_CLASS = qat_command(
    *("model", "dataset", "train-dataset", "eval-dataset", "ckpt"),  # run_standalone_train_sample.sh
    device_num="distributed",
)

_NO = {"", "0", "false", "no"}


@with_qat_options
def qat(
    make: Callable[[], Any],
    distributed: Annotated[
        int | None,
        option("--distributed", panel=RUN, min=1, metavar="N", help="Train on N devices of this machine."),
    ] = None,
    rank_table: Annotated[
        Path | None,
        option("--rank-table", panel=INPUT, metavar="FILE", help="Train on the devices of a rank table."),
    ] = None,
    original: Annotated[
        bool, option("--original", panel=RUN, help="Measure the float checkpoint, and do nothing else.")
    ] = False,
    dry_run: Annotated[
        bool, option("--dry-run", panel=RUN, help="Check every input and show the plan; write nothing.")
    ] = False,
    run_distribute: Annotated[str | None, option("--run-distribute", panel=RUN, hidden=True)] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Retrain a network with quantizers in it, when post-training quantization loses too much.

    Trains from a PTQ record (or a calibration), writes checkpoints that --resume goes on from to the same bytes,
    exports MODEL_quant_retrain.onnx, and reports its accuracy beside that of float and of PTQ.

    Example: amctq qat --dataset data --ckpt resnet20.ckpt --model resnet20 --epochs 2
    """
    output = Output(command="qat", as_json=as_json, quiet=quiet, verbose=verbose, failure_tables=failure_tables)
    with running(output):
        request = make()
        several = rank_table is not None or (distributed or 1) > 1
        if several and run_distribute is not None and run_distribute.strip().lower() in _NO:
            message = f"--run-distribute {run_distribute} and more than one device contradict each other"
            raise UsageError(message, hint="leave one of the two out")
        if original:
            from amctq.services.evaluate import evaluate

            measured = evaluate(request.of_float, output.event).data() | {"command": "qat"}
            answer = CommandResult(data=measured, tables=lambda: float_accuracy.tables(measured))
        elif several:
            from amctq.services.launch.request import LaunchRequest

            launch = LaunchRequest(qat=request, workers=distributed, rank_table=rank_table)
            answer = launch_distributed.answer(launch, dry_run, output)
        else:
            answer = _answer(request, dry_run, output)
    output.result(answer)


def _answer(request: Any, dry_run: bool, output: Output) -> CommandResult:
    # Behind the request, which refuses contradictions: these bring ONNX and onnxruntime along.
    from amctq.services.qat.qat import preview_qat
    from amctq.services.qat.qat import qat as service
    from amctq.services.qat.report import qat_report

    if dry_run:
        preview = preview_qat(request, output.event).data()
        return CommandResult(data=preview, tables=lambda: _preview_lines(preview))
    result = service(request, output.event)
    report = qat_report(result)
    return CommandResult(data=report, tables=lambda: tables(report), artifacts=result.artifacts)


def _preview_lines(preview: Mapping[str, Any]) -> list[RenderableType]:
    """The plan for people."""
    recipe = preview["recipe"]
    quantized = [layer for layer in preview["layers"] if layer["quantized"]]
    widths = sorted({layer["weight_bits"] for layer in quantized})
    skipped = [layer["name"] for layer in preview["layers"] if not layer["quantized"]]
    resumed = f", from step {preview['resumes_at']:,} on" if preview["resumes_at"] is not None else ""
    return [
        f"would retrain {len(quantized)} layers with weights of {' and '.join(map(str, widths))} bits{resumed}",
        *(f"stays in float: {name}: skipped" for name in skipped),
        *(f"stays in float: {layer['name']}: {layer['reason']}" for layer in preview["left_in_float"]),
        f"recipe {recipe['name']}: {recipe['steps']:,} steps of {recipe['batch_size']} images, "
        f"{recipe['epochs']} epochs, learning rate {recipe['lr_init']:g} to {recipe['lr_max']:g} in "
        f"{recipe['warmup_steps']:,} steps, then {recipe['lr_decay']}",
        f"{preview['training_images']:,} training images, {preview['calibration_images']:,} calibration images, "
        f"{preview['evaluation_images']:,} evaluation images",
        f"about {preview['estimated_seconds']:.0f} s on {preview['device']} with back end {preview['backend']}",
        f"would write {', '.join(preview['files'])}",
    ]
