"""The contract of an observer."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from amctq.quant.numerics import Float32Array, QParams


class NonFiniteError(ValueError):
    """An observer was shown NaN or infinity."""


def finite_range(low: np.float32, high: np.float32) -> tuple[float, float]:
    """The smallest and the largest value of a batch; both carry NaN and infinity through, so no pass looks for them.

    Raises:
        NonFiniteError: one of them is not finite.
    """
    if not (np.isfinite(low) and np.isfinite(high)):
        message = "activations hold NaN or infinity"
        raise NonFiniteError(message)
    return float(low), float(high)


class Observer(ABC):
    """Watches one tensor of activations, batch by batch.

    An observer keeps statistics, not activations: its memory does not grow with the images, and its result does
    not depend on how they are cut into batches or ordered.
    """

    def expect(self, images: int) -> None:  # noqa: B027  # most need not know
        """Be told, before the first batch, how many images there will be in all."""

    @abstractmethod
    def update(self, batch: Float32Array) -> None:
        """Take in one batch of the tensor, float32 of any shape, and keep no view of it: its memory is used again.

        Raises:
            NonFiniteError: the batch holds NaN or infinity.
        """

    @abstractmethod
    def qparams(self) -> QParams:
        """Scale and offset for all that was seen.

        Raises:
            ValueError: nothing was seen.
        """
