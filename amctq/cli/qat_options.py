"""The options of quantization-aware training, which ``qat`` and ``launch-distributed`` share."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from typer.core import TyperCommand

from amctq.choices import BackendName, Device, LrDecay, RecipeName, SelectEpoch
from amctq.cli import hyper_parameters as hyper_parameters_file
from amctq.cli import options
from amctq.cli.options import INPUT, OUTPUT, QUANTIZATION, RUN, TRAINING, option
from amctq.cli.sample_line import sample_line

# What the sample calls --dataset beside --train_dataset: which of its two readers.
_READERS = ("cifar10", "imagenet2012")


def qat_command(*words: str, more_behind_dashes: bool = False, **spellings: str) -> type[TyperCommand]:
    """The class of a command with the options of ``qat_request``, which understands the sample.

    Args:
        words: in the order of the sample's script, the option that each of its words is the value of.
        more_behind_dashes: as for ``options.aliases``.
        spellings: the sample's names of options that are the command's own, as for ``options.aliases``.
    """
    theirs = {
        "dataset_path": "dataset",
        "checkpoint_path": "ckpt",
        "pre_trained": "ckpt",
        "device_target": "device",
        "net": "model",
    }
    understood = options.aliases(more_behind_dashes=more_behind_dashes, **theirs, **spellings)
    return hyper_parameters_file.over_file(sample_line(understood, *words))


def qat_request(
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
        bool | None,
        option(
            "--distill/--no-distill",
            panel=TRAINING,
            help="The float network teaches, beside the labels.  [default: only with finetune]",
        ),
    ] = None,
    distill_temperature: Annotated[
        float | None, option("--distill-temperature", panel=TRAINING, help="[default: 4]")
    ] = None,
    distill_weight: Annotated[
        float | None,
        option("--distill-weight", panel=TRAINING, help="The teacher's part of the loss, 0…1.  [default: 0.9]"),
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
    max_drop: Annotated[
        float | None,
        option(
            "--max-drop", panel=RUN, metavar="POINTS", help="Fail (exit 5) when top-1 drops by more percentage points."
        ),
    ] = None,
    allow_poor_float: Annotated[
        bool, option("--allow-poor-float", panel=RUN, help="Go on although the float network hardly beats chance.")
    ] = False,
    eval_images: options.EvalImages = "all",  # type: ignore[assignment]  # Typer parses the default too
    batch_size: options.BatchSize = 32,
    seed: Annotated[
        int, option("--seed", panel=RUN, min=0, help="Chooses images, their order and their augmentation.")
    ] = 1,
    backend: options.Backend = BackendName.AUTO,
    device: options.DeviceName = Device.AUTO,
    device_id: options.DeviceId = None,
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
) -> Any:
    """What the options ask for: a ``QatRequest``.

    Raises:
        UsageError: they contradict each other.
    """
    from amctq.services.qat.request import QatRequest

    if train_dataset is not None and dataset is not None and dataset.lower() in _READERS:
        dataset = None
    return QatRequest(
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
        export=options.formats(export),
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


def with_qat_options(command: Callable[..., None]) -> Callable[..., None]:
    """``command`` with the options of ``qat_request`` before its own.

    Args:
        command: takes, as its first argument, a function that makes the request of them.
    """
    theirs = inspect.signature(qat_request, eval_str=True).parameters
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]

    def run(**given: Any) -> None:
        options.formats(given["export"])  # an option that cannot be parsed is a matter of the command line
        make = partial(qat_request, **{name: given.pop(name) for name in theirs})
        command(make, **given)

    keyword = [item.replace(kind=inspect.Parameter.KEYWORD_ONLY) for item in (*theirs.values(), *own)]
    run.__doc__ = command.__doc__
    run.__annotations__ = {item.name: item.annotation for item in keyword}
    run.__signature__ = inspect.Signature(keyword)  # type: ignore[attr-defined]
    return run
