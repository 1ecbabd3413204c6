"""How a network is trained: the sample's retrain_config.py, or a gentler recipe for a few epochs."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from amctq.choices import LrDecay, RecipeName
from amctq.errors import UsageError
from amctq.quant.numerics import Float32Array
from amctq.training.schedules import learning_rates

EPOCHS = 30
_SHORT = 10  # epochs; fewer cannot recover from the sample's highest learning rate
_WARMUP_EPOCHS = 5  # of the sample
_WARMUP_PART = 0.05  # of the steps of a short run
_LR_INIT, _LR_END = 5e-4, 1e-5
_LR_MAX = {RecipeName.SAMPLE: 0.1, RecipeName.FINETUNE: 1e-3}
_LR_DECAY = {RecipeName.SAMPLE: LrDecay.POLY, RecipeName.FINETUNE: LrDecay.COSINE}


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """The float network teaches (docs/en/reference.md, "Distillation").

    With labels only, a few epochs cannot regain what few bits have lost: ``benchmarks/qat.py`` measures it.

    Loss = (1 - weight) × cross-entropy + weight × temperature² × KL(teacher || student), both at that temperature.

    Attributes:
        temperature: by which logits are divided.
        weight: of the teacher's part, 0…1.
    """

    temperature: float = 4.0
    weight: float = 0.9  # Hinton et al.: best with a "considerably lower" weight on the labels


@dataclass(frozen=True, kw_only=True)
class RecipeOptions:
    """The recipe options of the user; None leaves the choice to the recipe.

    Attributes:
        recipe: which defaults; AUTO chooses by the length of the run.
        epochs: over the training images.
        max_steps: instead of ``epochs``.
        lr_init: learning rate where the warm-up starts.
        lr_max: where it ends.
        lr_end: where ``linear`` ends.
        lr_decay: what follows the warm-up.
        warmup_epochs: its length; a part of an epoch is allowed.
        momentum: of the optimizer.
        weight_decay: on weights only.
        loss_scale: by which the loss is multiplied and gradients are divided, against underflow in float16.
        freeze_bn_after: epochs, after which BatchNorm keeps its statistics; None for never.
        distill: the float network teaches; None leaves the choice to the recipe.
        distillation: how it teaches.
        augment: crop and flip the images.
    """

    recipe: RecipeName = RecipeName.AUTO
    epochs: int | None = None
    max_steps: int | None = None
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
    distillation: Distillation = Distillation()
    augment: bool = True


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides how a network is trained, except network, images and seed.

    Attributes:
        name: whose defaults these are, never AUTO.
        batch_size: images of one step, over all workers.
        steps_per_epoch: whole batches of an epoch.
        steps: of the whole run.
        lr_init: learning rate where the warm-up starts.
        lr_max: where it ends.
        lr_end: where ``linear`` ends.
        lr_decay: what follows the warm-up.
        warmup_steps: its length; fewer than ``steps``.
        momentum: of the optimizer.
        weight_decay: on weights; none on gamma, beta, biases and clips.
        loss_scale: see RecipeOptions.
        freeze_bn_step: from which step on BatchNorm keeps its statistics; None for never.
        distillation: None to learn from the labels only.
        augment: crop and flip the images.
    """

    name: RecipeName
    batch_size: int
    steps_per_epoch: int
    steps: int
    lr_init: float
    lr_max: float
    lr_end: float
    lr_decay: LrDecay
    warmup_steps: int
    momentum: float
    weight_decay: float
    loss_scale: float
    freeze_bn_step: int | None
    distillation: Distillation | None
    augment: bool

    @property
    def epochs(self) -> int:
        """Number of epochs; the last one may be incomplete."""
        return math.ceil(self.steps / self.steps_per_epoch)

    def learning_rates(self) -> Float32Array:
        """The learning rate of every step, float32 (steps,)."""
        return learning_rates(
            self.lr_decay,
            initial=self.lr_init,
            highest=self.lr_max,
            last=self.lr_end,
            steps=self.steps,
            warmup_steps=self.warmup_steps,
        )

    def data(self) -> dict[str, Any]:
        """The recipe, ready for JSON."""
        return asdict(self) | {"name": self.name.value, "lr_decay": self.lr_decay.value}


def resolve_recipe(options: RecipeOptions, *, images: int, batch_size: int) -> Recipe:
    """Choose what the user has not set.

    Args:
        options: of the user.
        images: number of training images.
        batch_size: images of one step, over all workers.

    Raises:
        UsageError: there are fewer images than a batch has, the warm-up is not shorter than the run, or BatchNorm
            would be frozen after its end.
    """
    steps_per_epoch = images // batch_size
    if not steps_per_epoch:
        message = f"--batch-size {batch_size}: there are {images:,} images to train with"
        raise UsageError(message, hint="take a smaller batch, or more training images")
    steps = options.max_steps or (options.epochs or EPOCHS) * steps_per_epoch
    name = options.recipe
    if name is RecipeName.AUTO:
        name = RecipeName.FINETUNE if steps < _SHORT * steps_per_epoch else RecipeName.SAMPLE
    lr_max = _LR_MAX[name] if options.lr_max is None else options.lr_max
    distils = name is RecipeName.FINETUNE if options.distill is None else options.distill
    return Recipe(
        name=name,
        batch_size=batch_size,
        steps_per_epoch=steps_per_epoch,
        steps=steps,
        lr_init=min(_LR_INIT, lr_max) if options.lr_init is None else options.lr_init,
        lr_max=lr_max,
        lr_end=_LR_END if options.lr_end is None else options.lr_end,
        lr_decay=options.lr_decay or _LR_DECAY[name],
        warmup_steps=_warmup_steps(options.warmup_epochs, name, steps, steps_per_epoch),
        momentum=options.momentum,
        weight_decay=options.weight_decay,
        loss_scale=options.loss_scale,
        freeze_bn_step=_freeze_bn_step(options.freeze_bn_after, steps, steps_per_epoch),
        distillation=options.distillation if distils else None,
        augment=options.augment,
    )


def _warmup_steps(epochs: float | None, name: RecipeName, steps: int, steps_per_epoch: int) -> int:
    if epochs is None and name is RecipeName.FINETUNE:
        return int(_WARMUP_PART * steps)
    asked = _WARMUP_EPOCHS if epochs is None else epochs
    warmup = round(asked * steps_per_epoch)
    if warmup >= steps:
        message = f"--warmup-epochs {asked:g}: {warmup:,} steps of warm-up, and the run has {steps:,} steps"
        raise UsageError(message, hint="train for longer, take a shorter warm-up, or --recipe finetune")
    return warmup


def _freeze_bn_step(epochs: int | None, steps: int, steps_per_epoch: int) -> int | None:
    if epochs is None:
        return None
    if epochs * steps_per_epoch >= steps:
        message = f"--freeze-bn-after {epochs}: the run ends after {steps / steps_per_epoch:.3g} epochs"
        raise UsageError(message, hint="freeze earlier, or leave the option out")
    return epochs * steps_per_epoch
