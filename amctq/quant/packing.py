"""Weights of 4 bits in AMCT's deploy files: two to a byte along an axis, the even one in the low half.

int8 (16, 8, 3, 3), values -8…7   ─ axis 1 ─   int8 (16, 4, 3, 3)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def pack_int4(values: NDArray[np.int8], *, axis: int) -> NDArray[np.int8]:
    """Put two integers of 4 bits into a byte.

    Args:
        values: -8…7, of an even size along ``axis``.
        axis: along which neighbours share a byte.

    Returns:
        int8, half as large along ``axis``.

    Raises:
        ValueError: the size is odd.
    """
    if values.shape[axis] % 2:
        message = f"{values.shape[axis]} integers along axis {axis} do not make pairs"
        raise ValueError(message)
    halves = np.moveaxis(values, axis, -1).view(np.uint8) & np.uint8(15)
    packed = halves[..., 0::2] | halves[..., 1::2] << np.uint8(4)
    return np.ascontiguousarray(np.moveaxis(packed.view(np.int8), -1, axis))


def unpack_int4(packed: NDArray[np.int8], *, axis: int) -> NDArray[np.int8]:
    """The inverse: int8 with the values -8…7, twice as large along ``axis``."""
    # Shifted up and down again, each half keeps its sign.
    halves = np.stack([packed << np.int8(4) >> np.int8(4), packed >> np.int8(4)], axis=axis % packed.ndim + 1)
    shape = list(packed.shape)
    shape[axis] *= 2
    unpacked: NDArray[np.int8] = halves.reshape(shape)
    return unpacked
