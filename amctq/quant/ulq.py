"""ULQ, fake quantization of activations with a learned range, and ARQ in a training step. NumPy only.

Forward and gradients are those of the Ascend operators ActsULQ, ActULQClampMaxGrad, ActULQClampMinGrad and WtsARQ,
which AMCT's MindSpore front end trains with (docs/en/reference.md, "ULQ", "ARQ while retraining"):

    cmin = min(clip_min, 0), or 0 where it is fixed     cmax = max(clip_max, 255 × EPSILON)
    s = (cmax - cmin) / 255     o = rint(cmin / s)      low = o × s, high = (o + 255) × s
    y = clip(rint(x / s), o, o + 255) × s

    dx        = g where low <= x <= high, else 0
    dclip_max = Σ g × (e + [x > high])
    dclip_min = Σ g × ([x < low] - e)
    e = (y - x) / (255 × s) inside, (rint(c / s) - c / s) / 255 outside, where c is the clip on that side

    w' = rint(w / s_c) × s_c     s_c = max(max(w) / (2^(n-1) - 1), -min(w) / 2^(n-1)) of channel c     dw = dw'

Folding a BatchNorm with negative γ changes the sign of a channel's weights, so the smallest weight becomes the largest.
ARQ therefore computes the scale of the negated weights for such a channel. This scale × |γ| / √(σ² + ε) is the scale
of the folded weight.

Every pair of clips is valid: where training has moved them past each other, the range has the smallest allowed width,
and the gradient widens it again. ``clip_min`` and ``clip_max`` themselves are not changed by this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.choices import ArqRule
from amctq.quant.numerics import EPSILON, Float32Array, QParams, per_channel
from amctq.quant.weights import arq_scale

LEVELS = 255
NARROWEST = LEVELS * EPSILON


@dataclass(frozen=True, kw_only=True)
class Clips:
    """The range of one tensor of activations.

    Attributes:
        high: clip_max, representable as float32.
        low: clip_min, representable as float32; not used with ``fixed_min``.
        fixed_min: the range starts at 0.
    """

    high: float
    low: float
    fixed_min: bool

    @property
    def scale(self) -> np.float32:
        """The scale s (docs/en/reference.md, "ULQ")."""
        return np.float32((self._highest - self._lowest) / np.float32(LEVELS))

    @property
    def steps_below_zero(self) -> np.float32:
        """The integer o at which the range starts, from -255 to 0."""
        return np.float32(np.rint(self._lowest / self.scale))

    @property
    def rests(self) -> tuple[np.float32, np.float32]:
        """The rounding errors of the lower and the upper clip in units of the scale, rint(c / s) - c / s.

        They are equal, unless both clips lie halfway between two steps: clip_max = -clip_min is 127.5 steps.
        """
        steps = self._lowest / self.scale, self._highest / self.scale
        return np.float32(np.rint(steps[0]) - steps[0]), np.float32(np.rint(steps[1]) - steps[1])

    @property
    def is_widened(self) -> bool:
        """Whether the upper clip is below the least, which takes its place."""
        return bool(np.float32(self.high) < np.float32(NARROWEST))

    @property
    def qparams(self) -> QParams:
        """The range as the record stores it: offset_d = -128 - o."""
        return QParams(float(self.scale), int(-128 - self.steps_below_zero))

    @property
    def _highest(self) -> np.float32:
        return max(np.float32(self.high), np.float32(NARROWEST))

    @property
    def _lowest(self) -> np.float32:
        return np.float32(0.0) if self.fixed_min else min(np.float32(self.low), np.float32(0.0))


def clips_of(qparams: QParams, *, fixed_min: bool) -> Clips:
    """The range of a record's scale and offset, with which training starts (docs/en/reference.md, "ULQ")."""
    scale = np.float32(qparams.scale)
    high, low = scale * np.float32(127 - qparams.offset), scale * np.float32(-128 - qparams.offset)
    return Clips(high=float(high), low=0.0 if fixed_min else float(low), fixed_min=fixed_min)


def ulq(x: Float32Array, clips: Clips) -> Float32Array:
    """Fake-quantize activations of any shape."""
    first = clips.steps_below_zero
    q: Float32Array = np.clip(np.rint(x / clips.scale), first, first + np.float32(LEVELS))
    return q * clips.scale


@dataclass(frozen=True, kw_only=True, eq=False)
class UlqParts:
    """The elements whose sums are the gradients; each array has the shape of x.

    Attributes:
        inside: dx.
        error: (y - x) × dx.
        above: g where x > high, else 0.
        below: g where x < low, else 0.
    """

    inside: Float32Array
    error: Float32Array
    above: Float32Array
    below: Float32Array


def ulq_parts(x: Float32Array, clips: Clips, gradient: Float32Array) -> UlqParts:
    """The elements of the sums; ``gradient`` is that of the loss with respect to ``ulq(x)``."""
    scale, first = clips.scale, clips.steps_below_zero
    above = gradient * (x > scale * (first + np.float32(LEVELS)))
    below = gradient * (x < scale * first)
    inside = gradient - above - below
    return UlqParts(inside=inside, error=(ulq(x, clips) - x) * inside, above=above, below=below)


@dataclass(frozen=True, kw_only=True, eq=False)
class UlqGradients:
    """Gradients of the loss with respect to ``x`` (same shape), ``clip_max`` and ``clip_min``."""

    x: Float32Array
    clip_max: float
    clip_min: float


def ulq_gradients(x: Float32Array, clips: Clips, gradient: Float32Array) -> UlqGradients:
    """Gradients of the loss; ``gradient`` is that with respect to ``ulq(x)``. Sums are computed in float64."""
    parts = ulq_parts(x, clips, gradient)
    above, below = _sum(parts.above), _sum(parts.below)
    at_low, at_high = map(float, clips.rests)
    loss = (_sum(parts.error) / float(clips.scale) + at_low * below + at_high * above) / LEVELS
    return UlqGradients(x=parts.inside, clip_max=above + loss, clip_min=below - loss)


def arq_retrain_scale(
    weight: Float32Array, *, channel_wise: bool, bits: int, gamma: Float32Array | None = None
) -> Float32Array:
    """The scale of a weight in a training step by the rule of WtsARQ, which clips nothing.

    Args:
        weight: float32 of shape (C_out, …).
        channel_wise: one scale per output channel, else one for the tensor.
        bits: width of the signed integer.
        gamma: γ of the BatchNorm that will be folded into the layer, shape (C_out,); None without one.

    Returns:
        float32 of shape (C_out,) or (1,).

    Raises:
        ValueError: the weight holds NaN or infinity.
    """
    if gamma is not None:
        weight = weight * per_channel(np.where(gamma < 0, np.float32(-1.0), np.float32(1.0)), weight.ndim)
    return arq_scale(weight, channel_wise=channel_wise, bits=bits, rule=ArqRule.ASCEND)


def arq_retrain(
    weight: Float32Array, *, channel_wise: bool, bits: int, gamma: Float32Array | None = None
) -> Float32Array:
    """Fake-quantize a weight; arguments as for ``arq_retrain_scale``. Its gradient passes unchanged (straight-through).

    Raises:
        ValueError: the weight holds NaN or infinity.
    """
    scale = arq_retrain_scale(weight, channel_wise=channel_wise, bits=bits, gamma=gamma)
    scale = per_channel(scale, weight.ndim)
    fake: Float32Array = np.rint(weight / scale) * scale
    return fake


def _sum(values: NDArray[np.floating[Any]]) -> float:
    return float(values.sum(dtype=np.float64))
