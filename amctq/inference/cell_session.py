"""Running MindSpore cells."""

from __future__ import annotations

from typing import Any

import numpy as np

from amctq.inference.session import Session
from amctq.quant.numerics import Float32Array
from amctq.signals import signal_handlers_kept


class CellSession(Session):
    """Runs a ``mindspore.nn.Cell``."""

    def __init__(self, cell: Any) -> None:
        self._cell = cell

    def logits(self, images: Float32Array) -> Float32Array:
        """The cell's output, (N, classes)."""
        import mindspore

        with signal_handlers_kept():
            logits: Float32Array = self._cell(mindspore.Tensor(images)).asnumpy()
        return logits


class FixedBatchSession(CellSession):
    """Runs a cell on batches of one size, so that its graph is compiled once; zeros fill a smaller batch.

    Args:
        cell: the network.
        size: images in a batch.
    """

    def __init__(self, cell: Any, size: int) -> None:
        super().__init__(cell)
        self._size = size

    def logits(self, images: Float32Array) -> Float32Array:
        """The cell's output, (N, classes), for at most ``size`` images."""
        missing = self._size - len(images)
        if not missing:
            return super().logits(images)
        filled = np.concatenate([images, np.zeros((missing, *images.shape[1:]), np.float32)])
        return super().logits(filled)[: len(images)]
