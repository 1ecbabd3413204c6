"""Learning rates by step: the sample's get_lr (docs/en/reference.md, "Learning-rate schedules")."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from amctq.choices import LrDecay
from amctq.quant.numerics import Float32Array

_Float64 = NDArray[np.float64]
# Parts of all steps at which ``steps`` divides the rate by ten.
_EDGES = (0.3, 0.6, 0.8)
# The sample's cosine stops short of its lowest point, and does not reach 0.
_COSINE_TURNS, _COSINE_FLOOR = 0.47, 1e-5


def learning_rates(
    decay: LrDecay, *, initial: float, highest: float, last: float, steps: int, warmup_steps: int
) -> Float32Array:
    """The learning rate of every step.

    Args:
        decay: what follows the warm-up.
        initial: where the warm-up starts (``--lr-init``).
        highest: where it ends (``--lr-max``).
        last: where ``linear`` ends (``--lr-end``); the other decays have their own end.
        steps: of the whole run, T.
        warmup_steps: w; fewer than T.

    Returns:
        float32 (T,), ``initial + (highest - initial) × i / w`` for i < w, then the decay's.
    """
    i = np.arange(steps, dtype=np.float64)
    warm = initial + (highest - initial) * i / max(warmup_steps, 1)
    decayed = _DECAYS[decay](i, float(warmup_steps), float(steps), highest, last)
    return np.where(i < warmup_steps, warm, decayed).astype(np.float32)


def _poly(i: _Float64, w: float, total: float, highest: float, last: float) -> _Float64:
    del last
    rates: _Float64 = highest * (1 - (i - w) / (total - w)) ** 2
    return rates


def _steps(i: _Float64, w: float, total: float, highest: float, last: float) -> _Float64:
    del w, last
    rates: _Float64 = highest * 0.1 ** np.searchsorted(np.multiply(_EDGES, total), i, side="right")
    return rates


def _cosine(i: _Float64, w: float, total: float, highest: float, last: float) -> _Float64:
    del last
    wave = 0.5 * (1 + np.cos(np.pi * 2 * _COSINE_TURNS * i / (total - w)))
    rates: _Float64 = highest * ((total - i) / (total - w) * wave + _COSINE_FLOOR)
    return rates


def _linear(i: _Float64, w: float, total: float, highest: float, last: float) -> _Float64:
    return highest - (highest - last) * (i - w) / (total - w)


_DECAYS: dict[LrDecay, Callable[[_Float64, float, float, float, float], _Float64]] = {
    LrDecay.POLY: _poly,
    LrDecay.STEPS: _steps,
    LrDecay.COSINE: _cosine,
    LrDecay.LINEAR: _linear,
}
