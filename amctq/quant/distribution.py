"""How the values of a tensor are distributed, in few bins: what a person looks at beside the chosen range."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amctq.quant.histogram import Density
from amctq.quant.numerics import Float32Array

_BINS = 64
_CHUNK = 1 << 20  # values at a time: indices of all weights of a large network would fill the memory


@dataclass(frozen=True, kw_only=True, eq=False)
class Distribution:
    """The values of a tensor in equal bins.

    Attributes:
        low: the smallest value, where the first bin begins.
        high: the largest value, where the last bin ends.
        counts: int64 (B,), B ≤ 64, the values in each bin, without exact zeros.
        zeros: how many values are exactly 0: behind a ReLU most are, and would hide all others.
    """

    low: float
    high: float
    counts: NDArray[np.int64]
    zeros: int


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerDistribution:
    """What a layer computes with.

    Attributes:
        weight: its float weight, BatchNorm folded in; None where it was not looked at.
        activation: its input on the calibration images; None where nothing was calibrated, or the observer keeps only
            the extremes.
    """

    weight: Distribution | None = None
    activation: Distribution | None = None


def distribution_of(values: Float32Array) -> Distribution:
    """The distribution of finite values of any shape, at least one."""
    flat = values.reshape(-1)
    low, high = float(flat.min()), float(flat.max())
    zeros = flat.size - int(np.count_nonzero(flat))
    counts: NDArray[np.int64] = np.zeros(_BINS, np.int64)
    if low == high:
        return Distribution(low=low, high=high, counts=np.asarray([flat.size - zeros]), zeros=zeros)
    for start in range(0, flat.size, _CHUNK):
        counts += np.bincount(_bin_of(flat[start : start + _CHUNK], low, high), minlength=_BINS)
    if low <= 0 <= high:
        counts[_bin_of(np.zeros(1, np.float32), low, high)[0]] -= zeros
    return Distribution(low=low, high=high, counts=counts, zeros=zeros)


def distribution_in(density: Density) -> Distribution:
    """The distribution that a histogram of more bins has; inside one of these, values are taken as uniform."""
    low, high = float(density.edges[0]), float(density.edges[-1])
    if low == high:
        return Distribution(low=low, high=high, counts=np.asarray([density.counts.sum()]), zeros=density.zeros)
    below = np.concatenate([[0], np.cumsum(density.counts)])
    shared = np.interp(np.linspace(low, high, _BINS + 1), density.edges, below)
    return Distribution(low=low, high=high, counts=np.diff(np.rint(shared).astype(np.int64)), zeros=density.zeros)


def _bin_of(values: Float32Array, low: float, high: float) -> NDArray[np.intp]:
    places = (values.astype(np.float64) - low) * (_BINS / (high - low))
    return np.minimum(places.astype(np.intp), _BINS - 1)
