"""SQuant: rounding without images, so that the errors in a kernel and in a channel cancel (Guo et al. 2022).

Neighbouring inputs are alike, so what rounding adds to a layer's output is about the mean input times the sum of the
errors. The paper approximates the Gram matrix of the inputs by three terms (eq. 7): of each weight, of each kernel, and
of each output channel. Each is minimised in turn, by rounding some weights the other way (Algorithms 1 to 3).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from amctq.quant import numerics
from amctq.quant.numerics import Float32Array
from amctq.quant.weights import QuantizedWeight, quantize_weight


def squant(weight: Float32Array, scale: Float32Array, *, bits: int) -> QuantizedWeight:
    """Round a weight.

    Args:
        weight: float32 of shape (C_out, C_in, …); a kernel is what follows the first two axes.
        scale: float32 of shape (C_out,) or (1,).
        bits: width of the signed integer.
    """
    shape = (*weight.shape[:2], -1)
    exact = (weight / numerics.per_channel(scale, weight.ndim)).astype(np.float64).reshape(shape)
    integers = quantize_weight(weight, scale, bits=bits).values.reshape(shape).astype(np.float64)
    kernels = (exact - integers).sum(axis=2)
    integers += _turned(exact - integers, integers, kernels, bits)
    # Of each kernel at most one weight more, for the sum of the channel.
    errors = exact - integers
    kernels = errors.sum(axis=2)
    channels = kernels.sum(axis=1, keepdims=True)
    best = _room(errors, integers, channels[:, :, None], bits).argmax(axis=2)[:, :, None]
    chosen = np.take_along_axis(integers, best, axis=2)[:, :, 0]
    more = _turned(kernels[:, None], chosen[:, None], channels, bits)[:, 0]
    np.put_along_axis(integers, best, (chosen + more)[:, :, None], axis=2)
    return QuantizedWeight(values=integers.astype(np.int8).reshape(weight.shape), scale=scale, bits=bits)


def _turned(
    errors: NDArray[np.float64], integers: NDArray[np.float64], sums: NDArray[np.float64], bits: int
) -> NDArray[np.float64]:
    """What is added to ``integers``, -1, 0 or 1, so that ``sums``, those of the errors, come to lie within ±1/2.

    The largest errors of the last axis are turned, those of the sign of the sum.
    """
    room = _room(errors, integers, sums[..., None], bits)
    rank = (-room).argsort(axis=-1, kind="stable").argsort(axis=-1, kind="stable")
    turned = (rank < np.rint(np.abs(sums))[..., None]) & (room > 0)
    found: NDArray[np.float64] = np.sign(sums)[..., None] * turned
    return found


def _room(
    errors: NDArray[np.float64], integers: NDArray[np.float64], sums: NDArray[np.float64], bits: int
) -> NDArray[np.float64]:
    """The errors in the direction of the sum; -inf where the next integer is none."""
    low, high = numerics.signed_range(bits)
    direction = np.sign(sums)
    after = integers + direction
    return np.where((low <= after) & (after <= high), direction * errors, -np.inf)
