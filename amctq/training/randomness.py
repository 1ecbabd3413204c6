"""Random numbers that are a pure function of their purpose: no generator, no state.

SplitMix64's output function (Steele, Lea and Flood 2014, figure 16; a bijection that passes BigCrush) over a chain of
keys. An image gets the same numbers in any order of preparation, with any number of threads or processes.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

UInt64Array = NDArray[np.uint64]
_GAMMA = 0x9E3779B97F4A7C15
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_BITS = 32


class Purpose(IntEnum):
    """What a number is drawn for, so that no two purposes share one."""

    SUBSET = 0
    ORDER = 1
    TOP = 2
    LEFT = 3
    FLIP = 4


def draw(seed: int, purpose: Purpose, epoch: int, indices: NDArray[np.int64]) -> UInt64Array:
    """64 random bits for each of ``indices`` (N,), uint64."""
    key = np.zeros(1, np.uint64)
    for part in (seed, int(purpose), epoch):
        key = _mixed(key + np.uint64((part + 1) * _GAMMA & (1 << 64) - 1))
    return _mixed(key + (indices.astype(np.uint64) + np.uint64(1)) * np.uint64(_GAMMA))


def below(bits: UInt64Array, limit: int) -> NDArray[np.int64]:
    """Whole numbers 0…limit - 1 from the upper 32 bits, as evenly as 32 bits allow; ``limit`` is at most 2^31."""
    scaled: NDArray[np.int64] = ((bits >> np.uint64(_BITS)) * np.uint64(limit) >> np.uint64(_BITS)).astype(np.int64)
    return scaled


def permutation(seed: int, purpose: Purpose, epoch: int, count: int) -> NDArray[np.int64]:
    """0…count - 1 in random order: sorted by the number drawn for each."""
    order: NDArray[np.int64] = np.argsort(draw(seed, purpose, epoch, np.arange(count)), kind="stable")
    return order


def _mixed(z: UInt64Array) -> UInt64Array:
    z = (z ^ (z >> np.uint64(30))) * _FIRST
    z = (z ^ (z >> np.uint64(27))) * _SECOND
    return z ^ (z >> np.uint64(31))
