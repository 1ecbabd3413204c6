"""Which images a step trains on, and how they are changed: a pure function of seed and step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from amctq.data.samples import Batch, Samples
from amctq.errors import InputError
from amctq.training.augmentation import crop_and_flip
from amctq.training.randomness import Purpose, permutation


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingBatches:
    """The batches of a run, by step.

    Every epoch takes every image at most once, in its own order. The last images of that order, which do not fill a
    batch, are left out.

    Attributes:
        samples: the training images.
        batch_size: images of one step, over all workers.
        seed: of order and augmentation.
        augment: crop and flip; images that are prepared already are not changed.
        classes: number of classes of the network; None where it is trained on other targets.
        rank: of this worker.
        world_size: how many workers share the images of a step; divides ``batch_size``.
    """

    samples: Samples
    batch_size: int
    seed: int
    augment: bool
    classes: int | None
    rank: int = 0
    world_size: int = 1

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches of an epoch."""
        return len(self.samples) // self.batch_size

    def positions(self, step: int) -> NDArray[np.int64]:
        """Which images this worker trains on in ``step``, in the order of the batch."""
        epoch, within = divmod(step, self.steps_per_epoch)
        order = _order(self.seed, epoch, len(self.samples))
        return order[within * self.batch_size : (within + 1) * self.batch_size][self.rank :: self.world_size]

    def batch(self, step: int) -> Batch:
        """This worker's samples of ``step``, and their targets.

        Raises:
            InputError: an image cannot be read, or the network does not have its class.
        """
        positions = self.positions(step)
        change, epoch = None, step // self.steps_per_epoch
        if self.augment:
            change = partial(crop_and_flip, seed=self.seed, epoch=epoch, indices=positions)
        inputs, targets = self.samples.chosen(positions, change, epoch=epoch)
        if self.classes is not None and targets.max() >= self.classes:
            message = f"a training image has class {targets.max()}, and the network has {self.classes} classes (from 0)"
            raise InputError(message, hint="check --num-classes and the labels of the training images")
        return inputs, targets


def training_subset(samples: Samples, count: int | None, seed: int) -> Samples:
    """``count`` of the images, chosen by seed, or all. The first images of a folder would have one class only."""
    if count is None or count >= len(samples):
        return samples
    return samples.take(np.sort(permutation(seed, Purpose.SUBSET, 0, len(samples))[:count]))


@lru_cache(maxsize=2)  # for the epochs of this step and of the next one, whose batch is prepared early
def _order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    order = permutation(seed, Purpose.ORDER, epoch, count)
    order.setflags(write=False)
    return order
