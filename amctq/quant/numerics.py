"""The arithmetic of quantization: integer ranges, scales, offsets and rounding. NumPy only.

A *scale* is a positive float32. An *offset* is a zero point as AMCT stores it, in the int8 domain; the zero point of
the same tensor as uint8 is offset + 128. Everywhere

    q = clip(rint(x / scale) + offset, low, high)        x ~ (q - offset) * scale

in float32, with ties to even, as ONNX QuantizeLinear and Ascend's ActsULQ compute it.

    range              bits 8        7         6        4       3       2
    signed weights     -128…127   -64…63    -32…31    -8…7    -4…3    -2…1
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.choices import ArqRule

Float32Array = NDArray[np.float32]

# FLT_EPSILON; AMCT (custom_op/utils.py) replaces every smaller scale by 1.
EPSILON = float(np.finfo(np.float32).eps)
# The smallest scale of amctq's own placements: values that need a smaller one are zero for any float32 network.
SMALLEST = 2.0**-100
SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)
FLOAT32_MAX = float(np.finfo(np.float32).max)
INT32_MAX = 2**31 - 1


@dataclass(frozen=True)
class QParams:
    """How one tensor of activations is quantized.

    Attributes:
        scale: positive, finite, representable as float32.
        offset: zero point in the int8 domain, -128…127; 0 where the range is symmetric.
    """

    scale: float
    offset: int

    @property
    def zero_point_uint8(self) -> int:
        """The zero point of the same tensor as uint8."""
        return self.offset + 128

    @property
    def range(self) -> tuple[float, float]:
        """The lowest and the highest value that the integers stand for; not finite where float32 has no such number."""
        scale = np.float32(self.scale)
        with np.errstate(over="ignore", invalid="ignore"):
            return float(np.float32(-128 - self.offset) * scale), float(np.float32(127 - self.offset) * scale)

    def within(self, low: float, high: float) -> QParams:
        """The same, with a range that does not reach beyond [low, high] and 0.

        With a symmetric range (offset 0) of a tensor without negative values, only the upper end can be inside.
        """
        lowest, highest = self.range
        low, high = min(low, 0.0), max(high, 0.0)
        if low <= lowest and highest <= high:
            return self
        offset, scale = self.offset, np.float32(self.scale)
        if offset != 0:
            cut = range_qparams(max(low, lowest), min(high, highest), smallest=SMALLEST)
            offset, scale = cut.offset, np.float32(cut.scale)
        for limit, steps in ((-low, offset + 128), (high, 127 - offset)):
            if steps and 0 < limit < np.inf:
                scale = min(scale, np.float32(limit / steps))
                while np.float32(steps) * scale > limit:  # by rounding
                    scale = np.nextafter(scale, np.float32(0))
        return QParams(float(scale), offset)


def signed_range(bits: int) -> tuple[int, int]:
    """Lowest and highest signed integer of ``bits`` bits."""
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def sums(values: Float32Array, axis: int | tuple[int, ...]) -> NDArray[np.floating[Any]]:
    """The sums of finite values along axes: in float32, which is fast, and in float64 where that overflows."""
    with np.errstate(over="ignore", invalid="ignore"):
        fast: NDArray[np.floating[Any]] = values.sum(axis=axis)
    return fast if np.isfinite(fast).all() else values.sum(axis=axis, dtype=np.float64)


def per_channel(values: NDArray[Any], ndim: int) -> NDArray[Any]:
    """Values of shape (C_out,) or (1,), reshaped to broadcast along the first of ``ndim`` axes."""
    return values.reshape(-1, *(1,) * (ndim - 1))


def range_qparams(low: float, high: float, *, symmetric: bool = False, smallest: float = EPSILON) -> QParams:
    """Scale and offset for activations in [low, high] (docs/en/reference.md, "Range to scale and offset").

    The range is widened to contain zero, which is then represented exactly. With ``symmetric``, the offset is 0, and
    the scale is high/127 or -low/128, by the end that is farther from 0.

    Args:
        low: the lowest value.
        high: the highest value.
        symmetric: offset fixed at 0.
        smallest: a range that needs a smaller scale gets scale 1, and offset -128 where it is not symmetric. EPSILON is
            AMCT's rule; SMALLEST leaves only a range of zeros.
    """
    if symmetric:
        return QParams(float(symmetric_scales(np.asarray(low), np.asarray(high), bits=8, smallest=smallest)), 0)
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32((high - low) / 255.0))
    if scale < smallest:
        return QParams(1.0, -128)
    offset = int(np.clip(np.rint(-128.0 - low / scale), -128, 127))
    return QParams(scale, offset)


def symmetric_scales(
    low: NDArray[np.floating[Any]],
    high: NDArray[np.floating[Any]],
    *,
    bits: int,
    rule: ArqRule = ArqRule.AMCT,
    smallest: float = EPSILON,
) -> Float32Array:
    """Symmetric scales for ranges [low, high], element by element.

    AMCT's rule: ``|max| / (2^(n-1) - 1)`` where |max| >= |min|, else ``|min| / 2^(n-1)``. The rule of Ascend's WtsARQ:
    the larger of max and -min, each by its integer (docs/en/reference.md, "Range to scale and offset", "ARQ"). The
    narrow rule: the larger of both by the largest integer, so that the lowest one is not used.

    Args:
        low: lowest values, any shape.
        high: highest values, the same shape.
        bits: width of the signed integer.
        rule: which of the two rules.
        smallest: a smaller scale becomes 1, as in ``range_qparams``.

    Returns:
        float32 scales of the same shape.
    """
    lowest, highest = signed_range(bits)
    if rule is ArqRule.ASCEND:
        chosen = np.maximum(high / highest, low / lowest)
    elif rule is ArqRule.NARROW:
        chosen = np.maximum(np.abs(high), np.abs(low)) / highest
    else:  # equal negative values take the branch of the maximum
        chosen = np.where(np.abs(high) >= np.abs(low), np.abs(high) / highest, np.abs(low) / -lowest)
    scales = chosen.astype(np.float32)
    return np.where(scales < smallest, np.float32(1.0), scales)


def quantize(
    x: Float32Array, scale: Float32Array | float, offset: int = 0, *, low: int = -128, high: int = 127
) -> NDArray[np.int8]:
    """``clip(rint(x / scale) + offset, low, high)`` as int8.

    Args:
        x: float32, any shape.
        scale: a number, or an array that broadcasts against ``x``.
        offset: zero point in the int8 domain.
        low: lowest integer of the target type.
        high: highest integer of the target type.
    """
    steps = np.rint(x / np.asarray(scale, np.float32))
    q: NDArray[np.int8] = np.clip(steps + np.float32(offset), low, high).astype(np.int8)
    return q


def dequantize(q: NDArray[np.int8], scale: Float32Array | float, offset: int = 0) -> Float32Array:
    """``(q - offset) * scale`` as float32; ``scale`` broadcasts against ``q``."""
    return (q.astype(np.float32) - np.float32(offset)) * np.asarray(scale, np.float32)


def quantize_bias(bias: Float32Array, scale: Float32Array) -> NDArray[np.int32]:
    """``rint(bias / scale)`` as int32, the quotient in float32 as in AMCT (docs/en/reference.md, "Bias").

    Args:
        bias: float32 of shape (C_out,).
        scale: activation scale × weight scale, float32 of shape (C_out,) or (1,).

    Raises:
        OverflowError: a quotient does not fit int32.
    """
    scale = np.broadcast_to(scale, bias.shape)
    steps = np.rint(bias.astype(np.float32) / scale.astype(np.float32)).astype(np.float64)
    if not np.all(np.abs(steps) <= INT32_MAX):
        worst = int(np.argmax(np.abs(steps)))
        message = f"bias {bias[worst]} / scale {scale[worst]} exceeds int32"
        raise OverflowError(message)
    q: NDArray[np.int32] = steps.astype(np.int32)
    return q


def dequantize_bias(bias: NDArray[np.int32], scale: Float32Array) -> Float32Array:
    """The float32 that an integer bias stands for, of shape (C_out,); the product has all digits of an int32."""
    return (bias * scale.astype(np.float64)).astype(np.float32)
