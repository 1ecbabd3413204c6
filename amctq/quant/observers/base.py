"""The contract of an observer."""

from __future__ import annotations

from abc import ABC, abstractmethod

from amctq.quant.numerics import Float32Array, QParams


class NonFiniteError(ValueError):
    """An observer was shown NaN or infinity."""


class Observer(ABC):
    """Watches one tensor of activations, batch by batch.

    An observer keeps statistics, not activations: its memory does not grow with the images, and its result does
    not depend on how they are cut into batches or ordered.
    """

    @abstractmethod
    def update(self, batch: Float32Array) -> None:
        """Take in one batch of the tensor, float32 of any shape.

        Raises:
            NonFiniteError: the batch holds NaN or infinity.
        """

    @abstractmethod
    def qparams(self) -> QParams:
        """Scale and offset for all that was seen.

        Raises:
            ValueError: nothing was seen.
        """
