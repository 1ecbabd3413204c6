"""Sums of two neighbouring products, which x86 CPUs without VNNI cut off at 16 bits.

VPMADDUBSW multiplies uint8 activations by int8 weights and adds the products in pairs, in 16 bits. A pair of weights of
one sign whose sum is at most 128 stays below that for every activation: 255 x 128 = 32,640 < 2^15. The weights of a
pair are neighbours in the order in which onnxruntime's kernels read them: the elements of a row of a matrix; the input
channels of a convolution at one position of its kernel, and from there on at the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The largest sum of two weights of one sign that is exact.
LIMIT = 128


def largest_pair(weight: NDArray[Any]) -> NDArray[Any]:
    """The largest |a + b| of two neighbouring weights of one sign, by output channel.

    A weight alone counts as a pair with zero. With an odd number of input channels a kernel that adds channels of zeros
    pairs other neighbours than one that does not, so that all neighbours count.

    Args:
        weight: float or int, of shape (C_out, C_in, …) or (C_out, C_in).

    Returns:
        Of shape (C_out,), float32 or int16.
    """
    kind = np.float32 if np.issubdtype(weight.dtype, np.floating) else np.int16
    rows = np.moveaxis(weight, 1, -1).reshape(weight.shape[0], -1).astype(kind)
    rows = np.pad(rows, ((0, 0), (0, 2 - rows.shape[1] % 2)))
    step = 1 if weight.shape[1] % 2 else 2
    first, second = rows[:, :-1:step], rows[:, 1::step]
    return np.maximum(_of_sign(first, second), _of_sign(-first, -second))


def _of_sign(first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
    found: NDArray[Any] = (np.maximum(first, 0) + np.maximum(second, 0)).max(axis=1)
    return found


def are_exact(values: NDArray[np.int8]) -> bool:
    """Whether no pair of these integers, of shape (C_out, C_in, …), can be cut off."""
    return int(largest_pair(values).max(initial=0)) <= LIMIT


def none_is_wide(values: NDArray[np.int8]) -> bool:
    """Whether no two of these integers can be cut off, whichever are neighbours."""
    return int(np.abs(values.astype(np.int16)).max(initial=0)) <= LIMIT // 2


def is_depthwise(group: int, shape: Sequence[int]) -> bool:
    """Whether a convolution multiplies each channel by weights of its own; its kernel adds in 32 bits.

    Args:
        group: of the convolution.
        shape: of its weight.
    """
    return group > 1 and tuple(shape[:2]) == (group, 1)
