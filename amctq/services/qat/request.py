"""What ``amctq qat`` is asked for, and what its options say against each other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from amctq.choices import WEIGHT_BITS, BackendName, ExportFormat, LrDecay, RecipeName, SelectEpoch
from amctq.errors import UsageError
from amctq.services.evaluate import EvaluateRequest
from amctq.services.request import NetworkRequest, refuse_below
from amctq.services.run.atc import refuse_idle_soc_version
from amctq.training.recipe import Distillation, RecipeOptions


@dataclass(frozen=True, kw_only=True)
class QatRequest(NetworkRequest):
    """What ``amctq qat`` shall do; fields carry the names of the options.

    Attributes:
        ckpt: MindSpore checkpoint of the float network.
        dataset: holds training and test images; instead of the two that follow.
        train_dataset: its training images train, or all where they have no roles.
        eval_dataset: its test images evaluate, or all where they have no roles.
        record: AMCT's calibration record, where the clips start; None to calibrate first.
        calib_images: how many training images calibrate; None for the configuration's batch_num, else 32.
        config: AMCT's retrain_quant_config.json; None for every layer by AMCT's defaults.
        weight_bits: width of weights, one of WEIGHT_BITS; None for the record's, else 8.
        skip_layers: names or shell patterns of layers that stay in float.
        recipe: which defaults of training; AUTO chooses by the length of the run.
        hyper_parameters: the file that values here have come from, to be told; it changes nothing.
        unused_hyper_parameters: what stands in it and has no field here, to be warned of.
        epochs: over the training images; None for 30.
        max_steps: instead of ``epochs``.
        train_images: how many train, chosen by seed; None for all.
        lr_init: learning rate where the warm-up starts.
        lr_max: where it ends.
        lr_end: where the decay ``linear`` ends.
        lr_decay: what follows the warm-up.
        warmup_epochs: length of the warm-up.
        momentum: of the optimizer.
        weight_decay: on weights alone.
        loss_scale: against underflow in float16.
        freeze_bn_after: epochs, after which BatchNorm keeps its statistics; None for never.
        distill: the float network teaches; None leaves it to the recipe unless one of the next two is given.
        distill_temperature: by which logits are divided; None for 4.
        distill_weight: of the teacher's part of the loss, 0…1; None for 0.9.
        augment: crop and flip training images.
        save_every_steps: steps between two checkpoints; None for ``save_checkpoint_epochs``.
        save_checkpoint_epochs: epochs between two checkpoints; None for 5.
        keep_checkpoint_max: how many of them stay.
        select: which epoch is exported.
        resume: go on with the run that the output directory holds.
        air: stem of the exported files; None for ``<model>_quant_retrain``.
        export: formats to write; empty for what suits the back end, onnx or air.
        soc_version: the chip that ATC shall compile the deploy file for; None to leave that to others.
        backend: which engine.
        max_drop: fail when top-1 drops by more percentage points than this; None for no gate.
        allow_poor_float: go on although the float network is hardly better than chance.
        seed: chooses images, their order and their augmentation.
        output_dir: where the files go.
        force: replace the files of a former run.
    """

    ckpt: Path
    dataset: str | Path | None = None
    train_dataset: str | Path | None = None
    eval_dataset: str | Path | None = None
    record: Path | None = None
    calib_images: int | None = None
    config: Path | None = None
    weight_bits: int | None = None
    skip_layers: tuple[str, ...] = ()
    recipe: RecipeName = RecipeName.AUTO
    hyper_parameters: Path | None = None
    unused_hyper_parameters: tuple[str, ...] = ()
    epochs: int | None = None
    max_steps: int | None = None
    train_images: int | None = None
    lr_init: float | None = None
    lr_max: float | None = None
    lr_end: float | None = None
    lr_decay: LrDecay | None = None
    warmup_epochs: float | None = None
    momentum: float = 0.9
    weight_decay: float = 1e-4
    loss_scale: float = 1024.0
    freeze_bn_after: int | None = None
    distill: bool | None = None
    distill_temperature: float | None = None
    distill_weight: float | None = None
    augment: bool = True
    save_every_steps: int | None = None
    save_checkpoint_epochs: int | None = None
    keep_checkpoint_max: int = 10
    select: SelectEpoch = SelectEpoch.LAST
    resume: bool = False
    air: str | None = None
    export: tuple[ExportFormat, ...] = ()
    soc_version: str | None = None
    backend: BackendName = BackendName.AUTO
    max_drop: float | None = None
    allow_poor_float: bool = False
    seed: int = 1
    output_dir: Path = Path("retrain_result")
    force: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_idle_soc_version(self.soc_version, self.export)
        for option, whole in (
            ("--calib-images", self.calib_images),
            ("--epochs", self.epochs),
            ("--max-steps", self.max_steps),
            ("--train-images", self.train_images),
            ("--save-every-steps", self.save_every_steps),
            ("--save-checkpoint-epochs", self.save_checkpoint_epochs),
            ("--keep-checkpoint-max", self.keep_checkpoint_max),
        ):
            refuse_below(option, whole, 1)
        refuse_below("--seed", self.seed, 0)
        refuse_below("--freeze-bn-after", self.freeze_bn_after, 0)
        self._refuse_numbers()
        self._refuse_contradictions()

    def _refuse_numbers(self) -> None:
        """Refuse numbers that no training survives."""
        for option, number, least, most in (
            ("--lr-init", self.lr_init, 0.0, math.inf),
            ("--lr-max", self.lr_max, 0.0, math.inf),
            ("--lr-end", self.lr_end, 0.0, math.inf),
            ("--warmup-epochs", self.warmup_epochs, 0.0, math.inf),
            ("--momentum", self.momentum, 0.0, 1.0),
            ("--weight-decay", self.weight_decay, 0.0, math.inf),
            ("--distill-weight", self.distill_weight, 0.0, 1.0),
        ):
            if number is not None and not (math.isfinite(number) and least <= number <= most):
                expected = f"from 0 to {most:g}" if math.isfinite(most) else "from 0 up"
                message = f"{option} {number:g}: expected a number {expected}"
                raise UsageError(message)
        for option, number in (
            ("--loss-scale", self.loss_scale),
            ("--distill-temperature", self.distill_temperature),
            ("--lr-max", self.lr_max),
        ):
            if number is not None and not (math.isfinite(number) and number > 0):
                message = f"{option} {number:g}: expected a number above 0"
                raise UsageError(message)
        if self.max_drop is not None and not math.isfinite(self.max_drop):
            message = f"--max-drop {self.max_drop}: expected a number of percentage points"
            raise UsageError(message)
        if self.weight_bits is not None and self.weight_bits not in WEIGHT_BITS:
            message = f"--weight-bits {self.weight_bits}: expected one of {', '.join(map(str, WEIGHT_BITS))}"
            raise UsageError(message)

    def _refuse_contradictions(self) -> None:
        """Refuse two options that say the same, or that do not go together."""
        self._refuse_datasets()
        for one, other, both in (
            ("--epochs", "--max-steps", self.epochs is not None and self.max_steps is not None),
            (
                "--save-every-steps",
                "--save-checkpoint-epochs",
                self.save_every_steps is not None and self.save_checkpoint_epochs is not None,
            ),
            ("--resume", "--force", self.resume and self.force),
            ("--weight-bits", "--config", self.weight_bits is not None and self.config is not None),
            ("--skip-layer", "--config", bool(self.skip_layers) and self.config is not None),
            ("--calib-images", "--record", self.calib_images is not None and self.record is not None),
            ("--max-drop", "--eval-images 0", self.max_drop is not None and self.eval_images == 0),
            ("--no-distill", "--distill-temperature", self.distill is False and self.distill_temperature is not None),
            ("--no-distill", "--distill-weight", self.distill is False and self.distill_weight is not None),
            ("--select best", "--eval-images 0", self.select is SelectEpoch.BEST and self.eval_images == 0),
        ):
            if both:
                message = f"{one} and {other} contradict each other"
                raise UsageError(message, hint="leave one of the two out")
        if self.air is not None and (not self.air or Path(self.air).name != self.air):
            message = f"--air {self.air}: expected a file name without a folder"
            raise UsageError(message, hint="the folder is that of --output-dir")

    def _refuse_datasets(self) -> None:
        whole, train, test = (item is not None for item in (self.dataset, self.train_dataset, self.eval_dataset))
        if whole and (train or test):
            message = "--dataset holds training and test images, and --train-dataset and --eval-dataset each one kind"
            raise UsageError(message, hint="give --dataset alone, or the other two")
        if not whole and not (train and test):
            missing = "no images to train with and to evaluate on"
            if train or test:
                missing = f"--{'train' if train else 'eval'}-dataset without --{'eval' if train else 'train'}-dataset"
            raise UsageError(missing, hint="give --dataset, or --train-dataset and --eval-dataset")

    @property
    def recipe_options(self) -> RecipeOptions:
        """What the user said of the recipe."""
        teaching = {"temperature": self.distill_temperature, "weight": self.distill_weight}
        given = {name: value for name, value in teaching.items() if value is not None}
        return RecipeOptions(
            recipe=self.recipe,
            epochs=self.epochs,
            max_steps=self.max_steps,
            lr_init=self.lr_init,
            lr_max=self.lr_max,
            lr_end=self.lr_end,
            lr_decay=self.lr_decay,
            warmup_epochs=self.warmup_epochs,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            loss_scale=self.loss_scale,
            freeze_bn_after=self.freeze_bn_after,
            distill=True if given else self.distill,
            distillation=Distillation(**given),
            augment=self.augment,
        )

    @property
    def of_float(self) -> EvaluateRequest:
        """The request that measures the float checkpoint on the same images: ``--original``."""
        dataset = self.dataset if self.eval_dataset is None else self.eval_dataset
        assert dataset is not None
        return EvaluateRequest(
            dataset=dataset,
            ckpt=self.ckpt,
            model=self.model,
            image_size=self.image_size,
            mean=self.mean,
            std=self.std,
            num_classes=self.num_classes,
            batch_size=self.batch_size,
            eval_images=self.eval_images,
            device=self.device,
            device_id=self.device_id,
        )
