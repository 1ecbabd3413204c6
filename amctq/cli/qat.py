"""``amctq qat``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from amctq.choices import BackendName, Device, LrDecay, RecipeName, SelectEpoch
from amctq.cli import evaluate as float_accuracy
from amctq.cli import hyper_parameters as hyper_parameters_file
from amctq.cli import options
from amctq.cli.exported import file_sentences
from amctq.cli.options import INPUT, OUTPUT, QUANTIZATION, RUN, TRAINING, option
from amctq.cli.output import CommandResult, Output, running
from amctq.cli.sample_line import sample_line

if TYPE_CHECKING:
    from rich.console import RenderableType

COMMAND_CLASS = hyper_parameters_file.over_file(
    sample_line(
        options.aliases(
            dataset_path="dataset", checkpoint_path="ckpt", pre_trained="ckpt", device_target="device", net="model"
        ),
        *("model", "dataset", "train-dataset", "eval-dataset", "ckpt"),  # run_standalone_train_sample.sh
    )
)
# What the sample calls --dataset beside --train_dataset: which of its two readers.
_READERS = ("cifar10", "imagenet2012")


def _one_device(value: str) -> str:
    """The sample's switches of distributed training, as far as they ask for one device."""
    if value.strip().lower() not in {"", "0", "1", "false"}:
        message = f"{value}: this version trains on one device"
        raise typer.BadParameter(message)
    return value


def qat(
    ckpt: options.Ckpt,
    dataset: Annotated[
        str | None,
        option(
            "--dataset",
            panel=INPUT,
            metavar="DATA",
            help="Training and test images: CIFAR-10 (binary version) or image folder, .npz file, or file.py:function.",
        ),
    ] = None,
    train_dataset: Annotated[
        str | None,
        option("--train-dataset", panel=INPUT, metavar="DATA", help="Training images, instead of --dataset."),
    ] = None,
    eval_dataset: Annotated[
        str | None,
        option("--eval-dataset", panel=INPUT, metavar="DATA", help="Test images, beside --train-dataset."),
    ] = None,
    model: options.Model = "resnet50",
    image_size: options.ImageSize = None,
    mean: options.Mean = None,
    std: options.Std = None,
    num_classes: options.NumClasses = 10,
    train_images: Annotated[
        int | None,
        option("--train-images", panel=INPUT, min=1, help="Train on that many, chosen by seed.  [default: all]"),
    ] = None,
    record: Annotated[
        Path | None,
        option(
            "--record",
            panel=QUANTIZATION,
            metavar="FILE",
            help="AMCT's calibration_record.txt to start from; without it a calibration runs first.",
        ),
    ] = None,
    calib_images: Annotated[
        int | None,
        option("--calib-images", panel=QUANTIZATION, min=1, help="Training images that calibrate.  [default: 32]"),
    ] = None,
    config: Annotated[
        Path | None,
        option(
            "--config",
            panel=QUANTIZATION,
            metavar="FILE",
            help="AMCT's retrain_quant_config.json, or its simplified .cfg.",
        ),
    ] = None,
    weight_bits: Annotated[
        int | None,
        option(
            "--weight-bits",
            panel=QUANTIZATION,
            metavar="8|7|6|4",
            help="Width of the weights.  [default: the record's, else 8]",
        ),
    ] = None,
    skip_layer: Annotated[
        list[str],
        option("--skip-layer", panel=QUANTIZATION, metavar="PATTERN", help="Leave these layers in float; repeatable."),
    ] = [],  # noqa: B006  # Typer copies it
    recipe: Annotated[
        RecipeName,
        option(
            "--recipe",
            panel=TRAINING,
            help="Defaults: the sample's, or gentle ones; auto takes those below 10 epochs.",
        ),
    ] = RecipeName.AUTO,
    hyper_parameters: hyper_parameters_file.HyperParametersFile = None,
    epochs: Annotated[
        int | None, option("--epochs", panel=TRAINING, min=1, help="Over the training images.  [default: 30]")
    ] = None,
    max_steps: Annotated[
        int | None, option("--max-steps", panel=TRAINING, min=1, help="Steps of the whole run, instead of --epochs.")
    ] = None,
    lr_init: Annotated[
        float | None, option("--lr-init", panel=TRAINING, help="Learning rate at the first step.  [default: 5e-4]")
    ] = None,
    lr_max: Annotated[
        float | None,
        option("--lr-max", panel=TRAINING, help="Behind the warm-up.  [default: 0.1; 1e-3 with finetune]"),
    ] = None,
    lr_end: Annotated[
        float | None, option("--lr-end", panel=TRAINING, help="At the end of --lr-decay linear.  [default: 1e-5]")
    ] = None,
    lr_decay: Annotated[
        LrDecay | None,
        option("--lr-decay", panel=TRAINING, help="Behind the warm-up.  [default: poly; cosine with finetune]"),
    ] = None,
    warmup_epochs: Annotated[
        float | None,
        option("--warmup-epochs", panel=TRAINING, help="[default: 5; 5 % of the steps with finetune]"),
    ] = None,
    momentum: Annotated[float, option("--momentum", panel=TRAINING, help="Of the optimizer.")] = 0.9,
    weight_decay: Annotated[
        float, option("--weight-decay", panel=TRAINING, help="On weights; none on beta, gamma, bias and clips.")
    ] = 1e-4,
    loss_scale: Annotated[
        float, option("--loss-scale", panel=TRAINING, help="Against underflow in float16, on an NPU.")
    ] = 1024.0,
    freeze_bn_after: Annotated[
        int | None,
        option("--freeze-bn-after", panel=TRAINING, min=0, metavar="EPOCHS", help="BatchNorm keeps its statistics."),
    ] = None,
    distill: Annotated[
        bool, option("--distill", panel=TRAINING, help="The float network teaches, beside the labels.")
    ] = False,
    distill_temperature: Annotated[
        float | None, option("--distill-temperature", panel=TRAINING, help="[default: 4]")
    ] = None,
    distill_weight: Annotated[
        float | None,
        option("--distill-weight", panel=TRAINING, help="The teacher's part of the loss, 0…1.  [default: 0.5]"),
    ] = None,
    no_augment: Annotated[
        bool, option("--no-augment", panel=TRAINING, help="Neither crop nor mirror training images.")
    ] = False,
    save_every_steps: Annotated[
        int | None,
        option("--save-every-steps", panel=TRAINING, min=1, help="Steps between checkpoints.  [default: 5 epochs]"),
    ] = None,
    save_checkpoint_epochs: Annotated[
        int | None, option("--save-checkpoint-epochs", panel=TRAINING, min=1, help="The same in epochs.")
    ] = None,
    keep_checkpoint_max: Annotated[
        int, option("--keep-checkpoint-max", panel=TRAINING, min=1, help="Checkpoints that stay, beside the best.")
    ] = 10,
    select: Annotated[
        SelectEpoch,
        option(
            "--select",
            panel=TRAINING,
            help="Export the last epoch, or the best on the test images (whose accuracy then flatters).",
        ),
    ] = SelectEpoch.LAST,
    resume: Annotated[
        bool, option("--resume", panel=RUN, help="Go on with the run in --output-dir, to the same bytes.")
    ] = False,
    original: Annotated[
        bool, option("--original", panel=RUN, help="Measure the float checkpoint, and do nothing else.")
    ] = False,
    max_drop: Annotated[
        float | None,
        option(
            "--max-drop", panel=RUN, metavar="POINTS", help="Fail (exit 5) when top-1 drops by more percentage points."
        ),
    ] = None,
    allow_poor_float: Annotated[
        bool, option("--allow-poor-float", panel=RUN, help="Go on although the float network hardly beats chance.")
    ] = False,
    dry_run: Annotated[
        bool, option("--dry-run", panel=RUN, help="Check every input and show the plan; write nothing.")
    ] = False,
    eval_images: options.EvalImages = "all",  # type: ignore[assignment]  # Typer parses the default too
    batch_size: options.BatchSize = 32,
    seed: Annotated[
        int, option("--seed", panel=RUN, min=0, help="Chooses images, their order and their augmentation.")
    ] = 1,
    backend: options.Backend = BackendName.AUTO,
    device: options.DeviceName = Device.AUTO,
    device_id: options.DeviceId = None,
    run_distribute: Annotated[str, option("--run-distribute", panel=RUN, hidden=True, callback=_one_device)] = "false",
    device_num: Annotated[str, option("--device-num", panel=RUN, hidden=True, callback=_one_device)] = "1",
    export: options.Export = [],  # noqa: B006  # Typer copies it
    soc_version: options.SocVersion = None,
    air: Annotated[
        str | None,
        option(
            "--air",
            panel=OUTPUT,
            metavar="NAME",
            help="Name of the exported files, without suffix.  [default: MODEL_quant_retrain]",
        ),
    ] = None,
    output_dir: options.OutputDir = Path("retrain_result"),
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Retrain a network with quantizers in it, when post-training quantization loses too much.

    Trains from a PTQ record (or a calibration), writes checkpoints that --resume goes on from to the same bytes,
    exports MODEL_quant_retrain.onnx, and reports its accuracy beside that of float and of PTQ.

    Example: amctq qat --dataset data --ckpt resnet20.ckpt --model resnet20 --epochs 2
    """
    del run_distribute, device_num  # checked already
    forms = options.formats(export)
    if train_dataset is not None and dataset is not None and dataset.lower() in _READERS:
        dataset = None
    output = Output(command="qat", as_json=as_json, quiet=quiet, verbose=verbose, failure_tables=_tables)
    with running(output):
        from amctq.services.qat_request import QatRequest

        request = QatRequest(
            dataset=dataset,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            ckpt=ckpt,
            model=model,
            image_size=image_size,
            mean=mean,
            std=std,
            num_classes=num_classes,
            train_images=train_images,
            record=record,
            calib_images=calib_images,
            config=config,
            weight_bits=weight_bits,
            skip_layers=tuple(skip_layer),
            recipe=recipe,
            hyper_parameters=None if hyper_parameters is None else hyper_parameters.path,
            unused_hyper_parameters=() if hyper_parameters is None else hyper_parameters.unused,
            epochs=epochs,
            max_steps=max_steps,
            lr_init=lr_init,
            lr_max=lr_max,
            lr_end=lr_end,
            lr_decay=lr_decay,
            warmup_epochs=warmup_epochs,
            momentum=momentum,
            weight_decay=weight_decay,
            loss_scale=loss_scale,
            freeze_bn_after=freeze_bn_after,
            distill=distill,
            distill_temperature=distill_temperature,
            distill_weight=distill_weight,
            augment=not no_augment,
            save_every_steps=save_every_steps,
            save_checkpoint_epochs=save_checkpoint_epochs,
            keep_checkpoint_max=keep_checkpoint_max,
            select=select,
            resume=resume,
            air=air,
            export=forms,
            soc_version=soc_version,
            backend=backend,
            max_drop=max_drop,
            allow_poor_float=allow_poor_float,
            eval_images=options.count_or_none(eval_images),
            batch_size=batch_size,
            seed=seed,
            device=device,
            device_id=device_id,
            output_dir=output_dir,
            force=force,
        )
        # Behind the request, which refuses contradictions: these bring ONNX and onnxruntime along.
        from amctq.services.evaluate import evaluate
        from amctq.services.qat import preview_qat
        from amctq.services.qat import qat as service
        from amctq.services.qat_report import qat_report

        if original:
            measured = evaluate(request.of_float, output.event).data() | {"command": "qat"}
            answer = CommandResult(data=measured, tables=lambda: float_accuracy.tables(measured))
        elif dry_run:
            preview = preview_qat(request, output.event).data()
            answer = CommandResult(data=preview, tables=lambda: _preview_lines(preview))
        else:
            result = service(request, output.event)
            report = qat_report(result)
            answer = CommandResult(data=report, tables=lambda: _tables(report), artifacts=result.artifacts)
    output.result(answer)


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


def _tables(report: Mapping[str, Any]) -> list[RenderableType]:
    """The report for people: what training has given back."""
    from rich.table import Table

    files, accuracy = report["files"], report["accuracy"]
    table = Table(title=f"{report['model']['name']}, INT8 retrained", title_justify="left")
    for column in ("", "float", "PTQ", "QAT", "QAT against float"):
        table.add_column(column, justify="right" if column else "left")
    if accuracy is not None:
        for name, key in (("top-1, %", "top1"), ("top-5, %", "top5")):
            before, start = accuracy["float"][key], accuracy["ptq"][key]
            after = (accuracy["int8"] or accuracy["training_network"])[key]
            table.add_row(name, f"{before:.2f}", f"{start:.2f}", f"{after:.2f}", f"{after - before:+.2f}")
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
            f"not run: {', '.join(report['not_run'])}: an AIR file runs on an NPU, behind ATC; the accuracy is that of "
            "AMCT's training network"
        )
    elif accuracy is not None:
        low, high = accuracy["top1_drop_95"]
        lines += [
            f"top-1 drop {accuracy['top1_drop']:.2f} points (95 % interval {low:.2f} to {high:.2f}), "
            f"McNemar p = {accuracy['mcnemar_p']:.2g}",
            f"training network {accuracy['training_network']['top1']:.2f} %; the exported file names the same class on "
            f"{accuracy['agreement']['percent']:.2f} % of {accuracy['images']:,} images",
        ]
    widths = sorted({layer["weight_bits"] for layer in quantization["layers"]})
    lines.append(
        f"{len(quantization['layers'])} layers with weights of {' and '.join(map(str, widths))} bits, "
        f"{len(quantization['left_in_float'])} left in float; {training['steps']:,} steps of {recipe['batch_size']} of "
        f"{data['training']['images']:,} images of {', '.join(data['training']['sources'])} (seed {data['seed']}), "
        f"recipe {recipe['name']}, epoch {training['exported_epoch']} of {training['epochs']} exported"
    )
    lines += file_sentences(report)
    failed = [check["name"] for check in report["checks"] if not check["passed"]]
    lines.append(f"checks failed: {', '.join(failed)}" if failed else f"{len(report['checks'])} checks passed")
    lines.append(f"{sum(report['timing']['seconds'].values()):.1f} s on {report['environment']['device']}")
    return lines
