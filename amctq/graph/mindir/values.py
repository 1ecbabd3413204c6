"""The values of a MindIR graph: tensors with their shapes, and constants in which the batch is marked.

The network is exported with one batch, a prime number that no size of the network is a multiple of. So an integer that
is a multiple of it comes from the batch, and it becomes a ``Batch``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray


class Batch(NamedTuple):
    """A number that is a multiple of the batch."""

    times: int

    def __int__(self) -> int:
        message = "a size that comes from the batch is no number"
        raise TypeError(message)

    def __str__(self) -> str:
        return "N" if self.times == 1 else f"{self.times}N"


Size: TypeAlias = int | Batch


def known(dtype: str) -> str:
    """The type that a tensor of ``dtype`` is read as: float16 and float64 become float32."""
    return "float32" if dtype in {"float16", "float64"} else dtype


def known_array(array: NDArray[Any]) -> NDArray[Any]:
    """A constant in the type that it is read as."""
    return array.astype(known(array.dtype.name), copy=False)


class Type(NamedTuple):
    """Type of a tensor: NumPy's name, and the shape."""

    dtype: str
    shape: tuple[Size, ...]


@dataclass(frozen=True)
class Monad:
    """The order of side effects; it is no value."""


MONAD = Monad()
# None, bool, int, Batch, float, str, an array, MONAD, or a tuple of these.
Constant: TypeAlias = Any


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """A tensor of the ONNX graph.

    Attributes:
        name: in the ONNX graph.
        dtype: NumPy's name of the type, one that ``known`` yields.
        shape: its sizes.
    """

    name: str
    dtype: str
    shape: tuple[Size, ...]

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape)


def with_batches(value: Any, batch: int) -> Constant:
    """``value`` with the integers that come from the batch as ``Batch``; arrays stay as they are."""
    if isinstance(value, int) and not isinstance(value, bool) and value and value % batch == 0:
        return Batch(value // batch)
    return value


def without_batch(array: NDArray[Any], batch: int) -> tuple[NDArray[Any], tuple[Size, ...]] | None:
    """A constant array whose axes may have the batch: the array with size 1 there, and the whole shape.

    Returns:
        None where the values differ along such an axis.
    """
    shape = tuple(with_batches(size, batch) for size in array.shape)
    for axis, size in enumerate(shape):
        if isinstance(size, Batch):
            first = np.take(array, [0], axis)
            if not np.array_equal(np.broadcast_to(first, array.shape), array):
                return None
            array = first
    return array, shape


class Steps(NamedTuple):
    """An array that grows by the same with every image of the batch, as ``arange(batch)`` does.

    Attributes:
        first: the part of the first image; size 1 on the axis of the batch.
        step: what the next image's part has more.
        axis: that has the batch.
        shape: of the whole array.
    """

    first: NDArray[Any]
    step: NDArray[Any]
    axis: int
    shape: tuple[Size, ...]


def steps_of_batch(array: NDArray[Any], batch: int) -> Steps | None:
    """A constant array whose values count the images of the batch; None where they do not."""
    shape = tuple(with_batches(size, batch) for size in array.shape)
    axes = [axis for axis, size in enumerate(shape) if isinstance(size, Batch)]
    if len(axes) != 1 or array.dtype.kind not in "iuf":
        return None
    axis = axes[0]
    first, second = np.take(array, [0], axis), np.take(array, [1], axis)
    step = second - first
    numbers = np.arange(array.shape[axis]).reshape([-1 if index == axis else 1 for index in range(array.ndim)])
    if not np.array_equal(first + step * numbers, array):
        return None
    return Steps(first, step.astype(array.dtype), axis, shape)
