"""Running MindSpore cells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.data.inputs import Inputs
from amctq.inference.session import Outputs, Session, in_batches
from amctq.signals import signal_handlers_kept

_NO_OUTPUTS = (int, float, str, type(None))  # the same for every sample, such as the 1 that a detector returns


class NoTensorsError(TypeError):
    """A network returns something else than tensors."""


class CellSession(Session):
    """Runs a ``mindspore.nn.Cell``."""

    def __init__(self, cell: Any) -> None:
        self._cell = cell

    def run(self, inputs: Inputs) -> Outputs:
        """All outputs of the cell for a batch, in the order of construct()."""
        import mindspore

        with signal_handlers_kept():
            # MindSpore computes later than it is called, so that only reading the result shows some failures.
            return tuple(as_arrays(self._cell(*map(mindspore.Tensor, inputs.values()))))


class GraphModeSession(CellSession):
    """Runs a cell in MindSpore's graph mode, the one in which it is exported."""

    def run(self, inputs: Inputs) -> Outputs:
        """All outputs of the cell; MindSpore is in pynative mode afterwards."""
        import mindspore

        self._cell.compile_cache.clear()  # what was compiled for an export cannot be run
        mindspore.set_context(mode=mindspore.GRAPH_MODE)
        try:
            return super().run(inputs)
        finally:
            mindspore.set_context(mode=mindspore.PYNATIVE_MODE)


class FixedBatchSession(CellSession):
    """Runs a cell on batches of one size, so that its graph is compiled once; zeros fill a smaller batch.

    Args:
        cell: the network.
        size: samples in a batch.
    """

    def __init__(self, cell: Any, size: int) -> None:
        super().__init__(cell)
        self._size = size

    def run(self, inputs: Inputs) -> Outputs:
        """All outputs of the cell."""
        return in_batches(super().run, inputs, self._size)


def as_arrays(output: Any) -> Iterator[NDArray[Any]]:
    """The tensors that construct() returned, one by one, float16 as float32; numbers beside them are no outputs.

    Raises:
        NoTensorsError: it returned something else.
    """
    if isinstance(output, (tuple, list)):
        for one in output:
            yield from as_arrays(one)
        return
    if isinstance(output, _NO_OUTPUTS):
        return
    if not hasattr(output, "asnumpy"):
        message = f"construct() returns {type(output).__name__}, expected tensors"
        raise NoTensorsError(message)
    array = output.asnumpy()
    yield array.astype(np.float32) if array.dtype == np.float16 else array
