"""The quantizers as MindSpore cells with their own gradients: with MindSpore's operators, and with compiled ones.

The formulas are those of ``quant.ulq`` and ``quant.rounded_start``. Every operator here reads and writes all
activations or all weights in each training step, so few and cheap operators are used.
"""

from __future__ import annotations

import mindspore
import numpy as np
from mindspore import Tensor, nn, ops

from amctq.backends.ascend import rounding
from amctq.backends.compiled import Kernels
from amctq.quant.numerics import EPSILON, signed_range
from amctq.quant.ulq import LEVELS, NARROWEST


class Ulq(nn.Cell):
    """``quant.ulq.ulq`` with MindSpore's operators: (x, clip_max, clip_min) to the shape of x.

    Args:
        nonnegative: x comes from a ReLU and the range starts at 0, so no x is below the range.
        npu: it runs on an NPU.
    """

    def __init__(self, *, nonnegative: bool, npu: bool) -> None:
        super().__init__(auto_prefix=False)
        self.nonnegative = nonnegative
        self.round = rounding(npu)
        self.divide = ops.RealDiv()
        self.minimum = ops.Minimum()
        self.maximum = ops.Maximum()
        self.sum = ops.ReduceSum()

    def construct(self, x: Tensor, clip_max: Tensor, clip_min: Tensor) -> Tensor:
        """Fake-quantized x."""
        scale, first, _ = self.grid(clip_max, clip_min)
        first = self.round(first)
        # With this order of operands NaN stays NaN on a CPU, and the loss shows it.
        q = self.minimum(first + float(LEVELS), self.round(self.divide(x, scale)))
        if not self.nonnegative:
            q = self.maximum(first, q)
        return q * scale

    def bprop(self, x: Tensor, clip_max: Tensor, clip_min: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, ...]:
        """The gradients of ``quant.ulq.ulq_gradients``."""
        scale, low, high = self.grid(clip_max, clip_min)
        inside, errors, aboves, belows = self.parts(x, clip_max, clip_min, out, dout)
        above = self.sum(aboves)
        below = above * 0.0
        if not self.nonnegative:
            below = self.sum(belows)
        outside = (self.round(low) - low) * below + (self.round(high) - high) * above
        loss = self.divide(self.divide(self.sum(errors), scale) + outside, float(LEVELS))
        return inside, above + loss, below - loss

    def grid(self, clip_max: Tensor, clip_min: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The scale, and both ends of the range in steps, not rounded."""
        lowest, highest = self.minimum(clip_min, 0.0), self.maximum(clip_max, NARROWEST)
        scale = self.divide(highest - lowest, float(LEVELS))
        return scale, self.divide(lowest, scale), self.divide(highest, scale)

    def parts(
        self, x: Tensor, clip_max: Tensor, clip_min: Tensor, out: Tensor, dout: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """dx, and three sums along the batch: the rounding error, dout above the range, dout below it."""
        scale, first, _ = self.grid(clip_max, clip_min)
        first = self.round(first)
        above = dout * ops.cast(x > scale * (first + float(LEVELS)), mindspore.float32)
        inside = dout - above
        belows = above
        if not self.nonnegative:
            below = dout * ops.cast(x < scale * first, mindspore.float32)
            inside = inside - below
            belows = self.sum(below, 0)
        return inside, self.sum((out - x) * inside, 0), self.sum(above, 0), belows


class CompiledUlq(Ulq):
    """The same, bit for bit; forward and backward each read memory only once."""

    def __init__(self, kernels: Kernels, *, nonnegative: bool) -> None:
        super().__init__(nonnegative=nonnegative, npu=False)
        self.ulq = kernels.ulq
        self.ulq_grad = kernels.ulq_grad

    def construct(self, x: Tensor, clip_max: Tensor, clip_min: Tensor) -> Tensor:
        """Fake-quantized x."""
        return self.ulq(x, clip_max, clip_min)

    def parts(
        self, x: Tensor, clip_max: Tensor, clip_min: Tensor, out: Tensor, dout: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The same as with MindSpore's operators."""
        inside, errors, aboves, belows = self.ulq_grad(x, clip_max, clip_min, dout)
        return inside, errors, aboves, belows


class Arq(nn.Cell):
    """``quant.ulq.arq_retrain`` with MindSpore's operators: weight (C_out, …), gamma (C_out,) to the weight's shape.

    Args:
        channel_wise: per-channel scales, one for each output channel.
        bits: width of the integers.
        npu: it runs on an NPU.
    """

    def __init__(self, *, channel_wise: bool, bits: int, npu: bool) -> None:
        super().__init__(auto_prefix=False)
        self.channel_wise = channel_wise
        self.lowest, self.highest = (float(end) for end in signed_range(bits))
        self.round = rounding(npu)
        self.divide = ops.RealDiv()
        # On a CPU these are three times faster than ReduceMax and ReduceMin.
        self.row_max = ops.ArgMaxWithValue(axis=1, keep_dims=True)
        self.row_min = ops.ArgMinWithValue(axis=1, keep_dims=True)

    def construct(self, weight: Tensor, gamma: Tensor) -> Tensor:
        """The fake-quantized weight."""
        rows = weight.reshape((weight.shape[0], -1))
        high = self.row_max(rows)[1]
        low = self.row_min(rows)[1]
        turned = gamma.reshape((-1, 1)) < 0.0
        top = ops.select(turned, -low, high)
        bottom = ops.select(turned, -high, low)
        scale = ops.maximum(self.divide(top, self.highest), self.divide(bottom, self.lowest))
        if not self.channel_wise:
            scale = scale.max()
        scale = ops.select(scale < EPSILON, ops.ones_like(scale), scale)
        return (self.round(self.divide(rows, scale)) * scale).reshape(weight.shape)

    def bprop(self, weight: Tensor, gamma: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        """Straight-through estimator."""
        return dout, ops.zeros_like(gamma)


class KeptScale(nn.Cell):
    """``quant.rounded_start.on_kept_scale`` with MindSpore's operators: (weight, gamma, scale) to the weight's shape.

    Args:
        bits: width of the integers.
        npu: it runs on an NPU.
    """

    def __init__(self, *, bits: int, npu: bool) -> None:
        super().__init__(auto_prefix=False)
        self.lowest, self.highest = (float(end) for end in signed_range(bits))
        self.round = rounding(npu)
        self.divide = ops.RealDiv()
        self.minimum = ops.Minimum()
        self.maximum = ops.Maximum()

    def construct(self, weight: Tensor, gamma: Tensor, scale: Tensor) -> Tensor:
        """The fake-quantized weight."""
        rows = weight.reshape((weight.shape[0], -1))
        column = scale.reshape((-1, 1))
        turned = ops.cast(gamma.reshape((-1, 1)) < 0.0, mindspore.float32)
        q = self.minimum(self.highest + turned, self.round(self.divide(rows, column)))
        return (self.maximum(self.lowest + turned, q) * column).reshape(weight.shape)

    def bprop(
        self, weight: Tensor, gamma: Tensor, scale: Tensor, out: Tensor, dout: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Straight-through estimator, for clipped weights too: training can bring them back."""
        return dout, ops.zeros_like(gamma), ops.zeros_like(scale)


class CompiledArq(Arq):
    """The same, bit for bit; it reads memory only once."""

    def __init__(self, kernels: Kernels, *, channel_wise: bool, bits: int) -> None:
        super().__init__(channel_wise=channel_wise, bits=bits, npu=False)
        self.arq = kernels.arq
        self.range = Tensor(np.array([*signed_range(bits), channel_wise], np.float32))

    def construct(self, weight: Tensor, gamma: Tensor) -> Tensor:
        """The fake-quantized weight."""
        return self.arq(weight, gamma, self.range)
