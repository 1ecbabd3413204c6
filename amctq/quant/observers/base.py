"""The contract of an observer."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from amctq.quant.histogram import Density
from amctq.quant.numerics import EPSILON, Float32Array, QParams


class NonFiniteError(ValueError):
    """The activations hold NaN or infinity."""


def finite_range(low: np.float32, high: np.float32) -> tuple[float, float]:
    """Check the smallest and the largest value of a batch, and return them as Python floats.

    NaN and infinity in a batch show in these two, so the batch itself needs no check.

    Raises:
        NonFiniteError: one of them is not finite.
    """
    if not (np.isfinite(low) and np.isfinite(high)):
        message = "activations hold NaN or infinity"
        raise NonFiniteError(message)
    return float(low), float(high)


class Observer(ABC):
    """Observes one tensor of activations, batch by batch.

    An observer keeps statistics, not activations: its memory does not grow with the number of images, and its result
    does not depend on the size and the order of the batches.
    """

    def expect(self, images: int) -> None:  # noqa: B027  # most do not need it
        """Take the number of images in all batches together; called before the first batch."""

    @abstractmethod
    def update(self, batch: Float32Array) -> None:
        """Observe one batch, float32 of any shape. Keep no view of it: its memory is used again.

        Raises:
            NonFiniteError: the batch holds NaN or infinity.
        """

    def density(self) -> Density | None:
        """How the observed values are distributed; None where only their extremes are kept."""
        return None

    @abstractmethod
    def qparams(self, *, smallest: float = EPSILON) -> QParams:
        """Scale and offset for all observed values.

        Args:
            smallest: a smaller scale becomes 1, as in ``numerics.range_qparams``.

        Raises:
            ValueError: nothing was observed.
        """
