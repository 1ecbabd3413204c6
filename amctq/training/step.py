"""One step of training as one compiled graph: loss, gradients, momentum.

It has no hidden state: inputs, targets, the teacher's outputs and the learning rate are arguments of each call, weights
and momentum are Parameters. Distillation and frozen statistics change the graph itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from mindspore import Parameter, Tensor, mutable, nn, ops

from amctq.data.inputs import Inputs
from amctq.data.samples import Targets
from amctq.inference.session import Outputs
from amctq.training.loss import TeacherLoss, as_scalar, as_tensor, in_float32
from amctq.training.recipe import Recipe

# No weight decay, as in the sample; nor on the clips of ULQ: only the gradient may shrink a range.
_NOT_DECAYED = ("gamma", "beta", "bias", "clip_max", "clip_min")
MOMENTS = "moments"


class TrainingStep(nn.Cell):
    """Trains ``network`` in place.

    Args:
        network: in training mode.
        recipe: gives momentum, weight decay, loss scale and distillation.
        loss: of outputs and targets, a scalar.
        moments: the momentum of each trainable Parameter of ``network``; ``zero_moments`` makes them.
        mean: turns a tuple of arrays into their means over all workers; None for a single worker.
        logits: the network gives logits: how the float network teaches it.
    """

    def __init__(
        self,
        network: nn.Cell,
        recipe: Recipe,
        loss: Any,
        moments: Iterable[Parameter],
        mean: nn.Cell | None = None,
        *,
        logits: bool = True,
    ) -> None:
        super().__init__(auto_prefix=False)
        self.network = network
        self.weights = tuple(network.trainable_params())
        self.moments = tuple(moments)
        self.decays = tuple(recipe.weight_decay if is_decayed(weight.name) else 0.0 for weight in self.weights)
        self.momentum = recipe.momentum
        self.scale = recipe.loss_scale
        self.has_others = mean is not None
        self.mean = nn.Identity() if mean is None else mean
        self.statistics = moving_statistics(network)
        self.loss = loss
        distillation = recipe.distillation
        self.distils = distillation is not None
        self.teacher_weight = 0.0 if distillation is None else distillation.weight
        self.teacher_loss = nn.Identity() if distillation is None else TeacherLoss(distillation, logits=logits)
        self.apply_momentum = ops.ApplyMomentum()
        self.loss_and_gradients = ops.value_and_grad(self.scaled_loss, None, self.weights)

    def scaled_loss(self, inputs: tuple[Tensor, ...], targets: Tensor, taught: tuple[Tensor, ...]) -> Tensor:
        """The loss of a batch, a scalar, times the loss scale."""
        outputs = in_float32(self.network(*inputs))
        loss = as_scalar(self.loss(outputs, targets))
        if self.distils:
            loss = (1.0 - self.teacher_weight) * loss + self.teacher_weight * self.teacher_loss(outputs, taught)
        return loss * self.scale

    def construct(
        self,
        inputs: tuple[Tensor, ...],
        targets: Tensor,
        taught: tuple[Tensor, ...],
        learning_rate: Tensor,
        stop: Tensor,
    ) -> Tensor:
        """One step. Several workers all use the mean gradients, and continue with the mean statistics.

        Args:
            inputs: in the order of construct(); the first axis is the batch.
            targets: int32 (N,) classes, or what the loss takes.
            taught: the float network's outputs; without distillation it is not read.
            learning_rate: float32 scalar.
            stop: float32 scalar, 1 if this worker wants to stop, else 0.

        Returns:
            float32 (3,): this worker's loss before the step, the mean loss of all workers, and the share of them that
            wants to stop.
        """
        loss, gradients = self.loss_and_gradients(inputs, targets, taught)
        figures = ops.stack((loss / self.scale, stop))
        own_loss = figures[:1]
        if self.has_others:
            # All that workers exchange, in one message: each further message costs milliseconds on a CPU.
            means = self.mean((figures, *gradients, *self.statistics))
            figures, gradients = means[0], means[1 : 1 + len(self.weights)]
            for index in range(len(self.statistics)):
                ops.assign(self.statistics[index], means[1 + len(self.weights) + index])
        for index in range(len(self.weights)):
            gradient = gradients[index] / self.scale
            if self.decays[index] > 0.0:
                gradient = gradient + self.decays[index] * self.weights[index]
            self.apply_momentum(self.weights[index], self.moments[index], learning_rate, gradient, self.momentum)
        return ops.concat((own_loss, figures))

    def freeze_statistics(self) -> None:
        """Let every BatchNorm keep its mean and variance; scale and shift are trained further."""
        for _, cell in self.network.cells_and_names():
            if isinstance(cell, nn.BatchNorm2d):
                cell.use_batch_statistics = False
        self.statistics = ()  # all workers hold the same now
        self.compile_cache.clear()  # the compiled graph would not see the change


def step_arguments(
    inputs: Inputs, targets: Targets, taught: Outputs, learning_rate: np.float32, stop: np.float32
) -> tuple[Any, ...]:
    """A batch as the arguments of ``TrainingStep``.

    MindSpore takes a plain tuple of tensors as a constant, and would compile the graph anew for each step.
    """
    tensors = mutable(tuple(map(Tensor, inputs.values())))
    return tensors, as_tensor(targets), mutable(tuple(map(Tensor, taught))), Tensor(learning_rate), Tensor(stop)


def moving_statistics(network: nn.Cell) -> tuple[Parameter, ...]:
    """Mean and variance that BatchNorm keeps for evaluations: what a step changes besides weights and momentum."""
    names = ("moving_mean", "moving_variance")
    return tuple(item for item in network.get_parameters() if item.name.rpartition(".")[2] in names)


def is_decayed(name: str) -> bool:
    """Whether weight decay is applied to the parameter of that name."""
    own = name.rpartition(".")[2]
    return not any(word in own for word in _NOT_DECAYED)


def zero_moments(network: nn.Cell) -> tuple[Parameter, ...]:
    """The momentum of an untrained network, under the names that MindSpore uses."""
    return tuple(
        Parameter(ops.zeros_like(weight), name=f"{MOMENTS}.{weight.name}", requires_grad=False)
        for weight in network.trainable_params()
    )
