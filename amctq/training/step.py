"""One step of training as one compiled graph: loss, gradients, momentum.

Nothing is hidden in it: images, labels, the teacher's logits and the learning rate come in with each call, weights and
momentum are Parameters, and which form the graph has (frozen statistics, distillation) is said when it is made.
"""

from __future__ import annotations

from collections.abc import Iterable

import mindspore
from mindspore import Parameter, Tensor, nn, ops

from amctq.training.recipe import Recipe

# What the sample decays no weights of, and the clips of ULQ: shrinking a range is the gradient's business.
_NOT_DECAYED = ("gamma", "beta", "bias", "clip_max", "clip_min")
MOMENTS = "moments"


class TrainingStep(nn.Cell):
    """Trains ``network`` in place.

    Args:
        network: images (N, C, H, W) to logits (N, classes), in training mode.
        recipe: momentum, weight decay, loss scale and distillation are taken from it.
        moments: one Parameter for each trainable one of ``network``, its momentum; ``zero_moments`` makes them.
        mean: makes of a tuple of arrays their means over all devices; None on a single one.
    """

    def __init__(
        self, network: nn.Cell, recipe: Recipe, moments: Iterable[Parameter], mean: nn.Cell | None = None
    ) -> None:
        super().__init__(auto_prefix=False)
        self.network = network
        self.weights = tuple(network.trainable_params())
        self.moments = tuple(moments)
        self.decays = tuple(recipe.weight_decay if is_decayed(weight.name) else 0.0 for weight in self.weights)
        self.momentum = recipe.momentum
        self.scale = recipe.loss_scale
        self.among_others = mean is not None
        self.mean = nn.Identity() if mean is None else mean
        self.statistics = moving_statistics(network)
        self.cross_entropy = nn.CrossEntropyLoss()
        teaching = recipe.distillation
        self.distils = teaching is not None
        self.temperature = 1.0 if teaching is None else teaching.temperature
        self.teachers_part = 0.0 if teaching is None else teaching.weight
        self.apply_momentum = ops.ApplyMomentum()
        self.loss_and_gradients = ops.value_and_grad(self.scaled_loss, None, self.weights)

    def scaled_loss(self, images: Tensor, labels: Tensor, taught: Tensor) -> Tensor:
        """The loss of a batch, a scalar, times the loss scale."""
        logits = ops.cast(self.network(images), mindspore.float32)
        loss = self.cross_entropy(logits, labels)
        if self.distils:
            # KL(p || q) = sum of p (log p - log q), mean over the batch; T² keeps the gradient's size
            # (docs/en/reference.md, "Distillation").
            wanted = ops.log_softmax(taught / self.temperature, 1)
            own = ops.log_softmax(logits / self.temperature, 1)
            divergence = (ops.exp(wanted) * (wanted - own)).sum(1).mean() * self.temperature**2
            loss = (1.0 - self.teachers_part) * loss + self.teachers_part * divergence
        return loss * self.scale

    def construct(self, images: Tensor, labels: Tensor, taught: Tensor, learning_rate: Tensor, stop: Tensor) -> Tensor:
        """One step. On several devices all of them use the mean gradients, and go on with the mean statistics.

        Args:
            images: float32 (N, C, H, W).
            labels: int32 (N,).
            taught: the teacher's logits, float32 (N, classes); any shape where there is no teacher.
            learning_rate: float32 scalar.
            stop: float32 scalar, 1 where this device wants to stop, else 0.

        Returns:
            float32 (3,): this device's loss before the step, the mean loss of all devices, and the part of them that
            wants to stop.
        """
        loss, gradients = self.loss_and_gradients(images, labels, taught)
        told = ops.stack((loss / self.scale, stop))
        own = told[:1]
        if self.among_others:
            # Everything that devices tell each other in one message: each further one costs a CPU milliseconds.
            means = self.mean((told, *gradients, *self.statistics))
            told, gradients = means[0], means[1 : 1 + len(self.weights)]
            for index in range(len(self.statistics)):
                ops.assign(self.statistics[index], means[1 + len(self.weights) + index])
        for index in range(len(self.weights)):
            gradient = gradients[index] / self.scale
            if self.decays[index] > 0.0:
                gradient = gradient + self.decays[index] * self.weights[index]
            self.apply_momentum(self.weights[index], self.moments[index], learning_rate, gradient, self.momentum)
        return ops.concat((own, told))

    def freeze_statistics(self) -> None:
        """Let every BatchNorm go on with the mean and variance that it has; its scale and shift learn on."""
        for _, cell in self.network.cells_and_names():
            if isinstance(cell, nn.BatchNorm2d):
                cell.use_batch_statistics = False
        self.statistics = ()  # all devices hold the same by now
        self.compile_cache.clear()  # what has been compiled would not notice


def moving_statistics(network: nn.Cell) -> tuple[Parameter, ...]:
    """Mean and variance that BatchNorm keeps for evaluations: what a step changes beside weights and momentum."""
    names = ("moving_mean", "moving_variance")
    return tuple(item for item in network.get_parameters() if item.name.rpartition(".")[2] in names)


def is_decayed(name: str) -> bool:
    """Whether weight decay is applied to the parameter of that name."""
    own = name.rpartition(".")[2]
    return not any(word in own for word in _NOT_DECAYED)


def zero_moments(network: nn.Cell) -> tuple[Parameter, ...]:
    """The momentum of a network that has not been trained, under MindSpore's own names for it."""
    return tuple(
        Parameter(ops.zeros_like(weight), name=f"{MOMENTS}.{weight.name}", requires_grad=False)
        for weight in network.trainable_params()
    )
