"""The request of ``amctq qat``, and the checks that its options do not contradict each other."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from amctq.choices import LrDecay, RecipeName, SelectEpoch
from amctq.errors import UsageError
from amctq.services import request as shared
from amctq.services.option import ABOVE_0, FROM_0, FROM_0_TO_1, INPUT, OUTPUT, QUANTIZATION, RUN, TRAINING, Option
from amctq.services.quantization_request import QuantizationRequest

if TYPE_CHECKING:
    from amctq.training.recipe import RecipeOptions


@dataclass(frozen=True, kw_only=True)
class QatRequest(QuantizationRequest):
    """The request of ``amctq qat``. Each field is the option of the same name; the option's help explains it.

    Attributes:
        ckpt: is needed, but not asked for where the network is a file, which qat cannot train.
        dataset: holds training and test images; replaces ``train_dataset`` and ``eval_dataset``.
        train_dataset: its training images are used, or all images if it has no such division.
        eval_dataset: its test images are used, or all images if it has no such division.
        train_images: None means all.
        hyper_parameters: the file that values here were read from; only named in the report.
        unused_hyper_parameters: names in that file that have no field here; a warning lists them.
        freeze_bn_after: None means never.
        distill: None leaves the choice to the recipe, unless temperature or weight of distillation are given.
        save_every_steps: None means as ``save_checkpoint_epochs`` says.
        save_checkpoint_epochs: None means 5.

    Raises:
        UsageError: a value is out of its range, or two options contradict each other.
    """

    ckpt: Annotated[Path | None, shared.CKPT] = None
    dataset: Annotated[
        str | Path | None,
        Option(
            INPUT,
            "Training and test images: CIFAR-10 (binary version), image folder, .npz file, or file.py:function.",
            metavar="DATA",
            aliases=("dataset_path",),
        ),
    ] = None
    train_dataset: Annotated[
        str | Path | None, Option(INPUT, "Training images, instead of --dataset.", metavar="DATA")
    ] = None
    eval_dataset: Annotated[
        str | Path | None, Option(INPUT, "Test images, together with --train-dataset.", metavar="DATA")
    ] = None
    train_images: Annotated[
        int | None,
        Option(INPUT, "How many images to train on, chosen by the seed.  [default: all]", min=1, after="num_classes"),
    ] = None
    record: Annotated[
        Path | None,
        Option(
            QUANTIZATION,
            "AMCT's calibration_record.txt to start from. Without it, a calibration runs first.",
            metavar="FILE",
        ),
    ] = None
    calib_images: Annotated[int | None, shared.CALIB_IMAGES] = None
    config: Annotated[
        Path | None, Option(QUANTIZATION, "AMCT's retrain_quant_config.json, or its simplified .cfg.", metavar="FILE")
    ] = None
    weight_bits: Annotated[
        int | None, replace(shared.WIDTH, help="Bits per weight.  [default: the record's, else 8]")
    ] = None
    skip_layers: Annotated[tuple[str, ...], shared.SKIP_LAYER] = ()
    skip_after: Annotated[tuple[str, ...], shared.SKIP_AFTER] = ()
    float_head: Annotated[bool, shared.FLOAT_HEAD] = False
    recipe: Annotated[
        RecipeName,
        Option(
            TRAINING, "Default values: the sample's, or gentle ones (finetune). auto means finetune below 10 epochs."
        ),
    ] = RecipeName.AUTO
    hyper_parameters: Annotated[
        Path | None,
        Option(
            TRAINING, "The sample's retrain_config.py. It is read, not executed. Options win over it.", metavar="FILE"
        ),
    ] = None
    unused_hyper_parameters: tuple[str, ...] = ()
    epochs: Annotated[int | None, Option(TRAINING, "Passes over the training images.  [default: 30]", min=1)] = None
    max_steps: Annotated[int | None, Option(TRAINING, "Length of the run in steps, instead of --epochs.", min=1)] = None
    lr_init: Annotated[
        float | None, Option(TRAINING, "Learning rate at the first step.  [default: 5e-4]", limits=(FROM_0,))
    ] = None
    lr_max: Annotated[
        float | None,
        Option(
            TRAINING, "Learning rate after the warm-up.  [default: 0.1; 1e-3 with finetune]", limits=(FROM_0, ABOVE_0)
        ),
    ] = None
    lr_end: Annotated[
        float | None,
        Option(TRAINING, "Learning rate at the end of --lr-decay linear.  [default: 1e-5]", limits=(FROM_0,)),
    ] = None
    lr_decay: Annotated[
        LrDecay | None,
        Option(TRAINING, "How the learning rate falls after the warm-up.  [default: poly; cosine with finetune]"),
    ] = None
    warmup_epochs: Annotated[
        float | None,
        Option(TRAINING, "Warm-up in epochs.  [default: 5; 5 % of the steps with finetune]", limits=(FROM_0,)),
    ] = None
    momentum: Annotated[float, Option(TRAINING, "Momentum of the optimizer.", limits=(FROM_0_TO_1,))] = 0.9
    weight_decay: Annotated[
        float, Option(TRAINING, "Weight decay; none for beta, gamma, bias and clips.", limits=(FROM_0,))
    ] = 1e-4
    loss_scale: Annotated[float, Option(TRAINING, "Factor against float16 underflow on an NPU.", limits=(ABOVE_0,))] = (
        1024.0
    )
    freeze_bn_after: Annotated[
        int | None, Option(TRAINING, "After this many epochs, BatchNorm keeps its statistics.", min=0, metavar="EPOCHS")
    ] = None
    distill: Annotated[
        bool | None,
        Option(TRAINING, "Learn from the float network too, not only from labels.  [default: only with finetune]"),
    ] = None
    distill_temperature: Annotated[
        float | None, Option(TRAINING, "Temperature of distillation.  [default: 4]", limits=(ABOVE_0,))
    ] = None
    distill_weight: Annotated[
        float | None, Option(TRAINING, "Share of distillation in the loss, 0…1.  [default: 0.9]", limits=(FROM_0_TO_1,))
    ] = None
    loss: Annotated[
        str | None,
        Option(
            TRAINING,
            "Your own loss, file.py:name: a Cell, or a function of outputs and targets.  "
            "[default: cross-entropy for a classifier]",
            metavar="NAME",
        ),
    ] = None
    augment: Annotated[bool, Option(TRAINING, "Do not crop or mirror training images.")] = True
    save_every_steps: Annotated[
        int | None, Option(TRAINING, "Steps between checkpoints.  [default: 5 epochs]", min=1)
    ] = None
    save_checkpoint_epochs: Annotated[int | None, Option(TRAINING, "Epochs between checkpoints.", min=1)] = None
    keep_checkpoint_max: Annotated[
        int, Option(TRAINING, "How many checkpoints to keep, in addition to the best.", min=1)
    ] = 10
    select: Annotated[
        SelectEpoch,
        Option(
            TRAINING, "Export the last epoch, or the best on the test images (its accuracy is then too optimistic)."
        ),
    ] = SelectEpoch.LAST
    resume: Annotated[bool, Option(RUN, "Continue the run in --output-dir; the result is the same, byte for byte.")] = (
        False
    )
    seed: Annotated[
        int, Option(RUN, "Random seed for images, their order and their augmentation.", min=0, after="batch_size")
    ] = 1
    air: Annotated[
        str | None,
        Option(
            OUTPUT,
            "Name of the exported files without suffix.  [default: MODEL_quant_retrain]",
            metavar="NAME",
            after="soc_version",
        ),
    ] = None
    output_dir: Annotated[Path, replace(shared.OUTPUT_DIR, after="air")] = Path("retrain_result")

    def __post_init__(self) -> None:
        super().__post_init__()
        from amctq.networks.registry import refuse_model_file, refuse_no_weights

        refuse_model_file(self.model, "qat")
        refuse_no_weights(self.model, self.ckpt)
        if self.rules.trains is not None:
            message = f"qat --target {self.target.value}: {self.rules.trains}"
            raise UsageError(message, hint="use amctq ptq for it, or choose another --target")
        self._refuse_contradictions()

    def _refuse_contradictions(self) -> None:
        """Refuse options that contradict each other."""
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
            ("--skip-after", "--config", bool(self.skip_after) and self.config is not None),
            ("--float-head", "--config", self.float_head and self.config is not None),
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
            message = "--dataset holds training and test images, so it excludes --train-dataset and --eval-dataset"
            raise UsageError(message, hint="give only --dataset, or the other two")
        if not whole and not (train and test):
            missing = "no images to train with and to evaluate on"
            if train or test:
                missing = f"--{'train' if train else 'eval'}-dataset without --{'eval' if train else 'train'}-dataset"
            raise UsageError(missing, hint="give --dataset, or --train-dataset and --eval-dataset")

    @property
    def recipe_options(self) -> RecipeOptions:
        """The options of the recipe that the user gave."""
        from amctq.training.recipe import Distillation, RecipeOptions

        teaching = {"temperature": self.distill_temperature, "weight": self.distill_weight}
        given = {name: value for name, value in teaching.items() if value is not None}
        same = {item.name: getattr(self, item.name) for item in fields(RecipeOptions) if item.name != "distillation"}
        return RecipeOptions(**same | {"distill": True if given else self.distill}, distillation=Distillation(**given))
