"""Layers that learn to be quantized, as MindSpore cells: ULQ on their input, ARQ on their weight.

    x ── clip(rint(x / s), o, o + 255) × s ───┐
    weight ── rint(w / s_c) × s_c ────────────┤ Conv2D/MatMul ── + bias ── y ── BatchNorm, unfused

The formulas and their gradients are those of ``quant.ulq``. Parameters keep the float layer's names; the clips are
named after the first layer that reads the tensor.
"""

from __future__ import annotations

from typing import Any

import mindspore
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from amctq.quant.numerics import EPSILON, signed_range
from amctq.quant.ulq import LEVELS, NARROWEST, Clips, arq_retrain

CACHE = ".weight_quantized"


class _Float32Cell(nn.Cell):
    """Stays float32 where mixed precision makes the network around it half: its scales need the digits."""

    def add_flags_recursive(self, **flags: Any) -> Any:
        """Take over what is said to a whole network, but for its precision."""
        if flags.keys() & {"fp16", "bf16"}:
            flags |= {"fp16": False, "bf16": False, "fp32": True}
        return super().add_flags_recursive(**flags)


def rounding(npu: bool) -> Any:
    """Half to even: Rint takes a third of the time of Round on a CPU; NPUs have the latter."""
    return ops.Round() if npu else ops.Rint()


class Ulq(nn.Cell):
    """``quant.ulq.ulq`` over plain operators: (x, clip_max, clip_min) to the shape of x.

    Args:
        fixed_min: the range starts at 0.
        nonnegative: x comes from a ReLU, so that nothing lies below the range.
        npu: it runs on an NPU.
    """

    def __init__(self, *, fixed_min: bool, nonnegative: bool, npu: bool) -> None:
        super().__init__(auto_prefix=False)
        self.fixed_min = fixed_min
        self.nonnegative = nonnegative
        self.round = rounding(npu)
        self.divide = ops.RealDiv()
        self.minimum = ops.Minimum()
        self.maximum = ops.Maximum()
        self.sum = ops.ReduceSum()

    def lowest_of(self, clip_min: Tensor) -> Tensor:
        """The lower end of the range."""
        if self.fixed_min:
            return clip_min * 0.0
        return self.minimum(clip_min, 0.0)

    def scale_of(self, clip_max: Tensor, lowest: Tensor) -> Tensor:
        """Of one step of the grid."""
        return self.divide(self.maximum(clip_max, NARROWEST) - lowest, float(LEVELS))

    def construct(self, x: Tensor, clip_max: Tensor, clip_min: Tensor) -> Tensor:
        """Fake-quantized x."""
        lowest = self.lowest_of(clip_min)
        scale = self.scale_of(clip_max, lowest)
        steps = self.round(self.divide(lowest, scale))
        q = self.minimum(self.round(self.divide(x, scale)), steps + float(LEVELS))
        if not self.nonnegative:
            q = self.maximum(q, steps)
        return q * scale

    def bprop(self, x: Tensor, clip_max: Tensor, clip_min: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, ...]:
        """The gradients of ``quant.ulq.ulq_gradients``."""
        lowest = self.lowest_of(clip_min)
        scale = self.scale_of(clip_max, lowest)
        exact = self.divide(lowest, scale)
        steps = self.round(exact)
        above = dout * ops.cast(x > scale * (steps + float(LEVELS)), mindspore.float32)
        inside = dout - above
        outside = self.total(above)
        sum_above = outside
        sum_below = outside * 0.0
        if not self.nonnegative:
            below = dout * ops.cast(x < scale * steps, mindspore.float32)
            inside = inside - below
            sum_below = self.total(below)
            outside = sum_above + sum_below
        error = self.divide(self.total((out - x) * inside), scale)
        loss = self.divide(error + (steps - exact) * outside, float(LEVELS))
        to_min = sum_below - loss
        if self.fixed_min:
            to_min = sum_below * 0.0
        return inside, loss + sum_above, to_min

    def total(self, x: Tensor) -> Tensor:
        """The sum of all elements, along the batch first, which is the fast axis."""
        return self.sum(self.sum(x, 0))


class ActivationQuantizer(_Float32Cell):
    """One tensor of activations on the grid of its learned range, whichever layers read it.

    Args:
        name: the parameters are called ``name.clip_max`` and ``name.clip_min``.
        clips: where training starts.
        nonnegative: the tensor comes from a ReLU.
        npu: it runs on an NPU.
    """

    def __init__(self, name: str, clips: Clips, *, nonnegative: bool, npu: bool) -> None:
        super().__init__(auto_prefix=False)
        self.fixed_min = clips.fixed_min
        self.clip_max = Parameter(Tensor(np.float32(clips.high)), name=f"{name}.clip_max")
        self.clip_min = Parameter(
            Tensor(np.float32(clips.low)), name=f"{name}.clip_min", requires_grad=not clips.fixed_min
        )
        self.fake_quantize = Ulq(fixed_min=clips.fixed_min, nonnegative=nonnegative, npu=npu)

    def construct(self, x: Tensor) -> Tensor:
        """Fake-quantized x."""
        return self.fake_quantize(x, self.clip_max, self.clip_min)

    @property
    def clips(self) -> Clips:
        """Where training has come to."""
        high, low = float(self.clip_max.asnumpy()), float(self.clip_min.asnumpy())
        return Clips(high=high, low=low, fixed_min=self.fixed_min)


class Arq(nn.Cell):
    """``quant.ulq.arq_retrain`` over plain operators: (C_out, …) to the same shape.

    Args:
        channel_wise: one scale per output channel.
        bits: width of the integers.
        npu: it runs on an NPU.
    """

    def __init__(self, *, channel_wise: bool, bits: int, npu: bool) -> None:
        super().__init__(auto_prefix=False)
        self.channel_wise = channel_wise
        self.lowest, self.highest = (float(end) for end in signed_range(bits))
        self.round = rounding(npu)
        self.divide = ops.RealDiv()
        # A third of the time of ReduceMax and ReduceMin on a CPU.
        self.row_max = ops.ArgMaxWithValue(axis=1, keep_dims=True)
        self.row_min = ops.ArgMinWithValue(axis=1, keep_dims=True)

    def construct(self, weight: Tensor) -> Tensor:
        """The fake-quantized weight."""
        rows = weight.reshape((weight.shape[0], -1))
        high = self.row_max(rows)[1]
        low = self.row_min(rows)[1]
        if not self.channel_wise:
            high = high.max()
            low = low.min()
        high = self.divide(ops.maximum(high, 0.0), self.highest)
        low = self.divide(ops.minimum(low, 0.0), self.lowest)
        scale = ops.maximum(high, low)
        scale = ops.select(scale < EPSILON, ops.ones_like(scale), scale)
        return (self.round(self.divide(rows, scale)) * scale).reshape(weight.shape)

    def bprop(self, weight: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, ...]:
        """Straight through."""
        return (dout,)


class WeightQuantizer(_Float32Cell):
    """A layer's weight, fake-quantized anew in every training step, and once for all of an evaluation.

    Whatever switches the network to evaluation (``set_train(False)``) quantizes the weight as it is then.

    Args:
        weight: the layer's parameter.
        channel_wise: one scale per output channel.
        bits: width of the integers.
        npu: it runs on an NPU.
    """

    def __init__(self, weight: Parameter, *, channel_wise: bool, bits: int, npu: bool) -> None:
        super().__init__(auto_prefix=False)
        self.weight = weight
        self.channel_wise = channel_wise
        self.bits = bits
        self.fake_quantize = Arq(channel_wise=channel_wise, bits=bits, npu=npu)
        name = weight.name.removesuffix(".weight")
        self.quantized = Parameter(Tensor(self._now()), name=f"{name}{CACHE}", requires_grad=False)

    def construct(self) -> Tensor:
        """The fake-quantized weight, (C_out, …)."""
        if self.training:
            return self.fake_quantize(self.weight)
        return self.quantized

    def add_flags_recursive(self, **flags: Any) -> Any:
        """Beside what a cell does of its own: quantize the weight when an evaluation begins."""
        if flags.get("training") is False and "quantized" in self._params:
            self.quantized.set_data(Tensor(self._now()))
        return super().add_flags_recursive(**flags)

    def _now(self) -> Any:
        return arq_retrain(self.weight.asnumpy(), channel_wise=self.channel_wise, bits=self.bits)


class RetrainingConv2d(nn.Cell):
    """In the place of an nn.Conv2d; (N, C, H, W) to (N, C_out, H', W').

    Args:
        layer: the nn.Conv2d, whose parameters, stride, padding and groups it takes over.
        activation: of its input, shared with other layers that read it.
        weight: of its weight.
    """

    def __init__(self, layer: Any, activation: ActivationQuantizer, weight: WeightQuantizer) -> None:
        super().__init__(auto_prefix=False)
        self.quantize = activation
        self.quantized_weight = weight
        self.conv2d = layer.conv2d
        self.bias_add = layer.bias_add
        self.has_bias = layer.has_bias
        if layer.has_bias:
            self.bias = layer.bias

    def construct(self, x: Tensor) -> Tensor:
        """The convolution."""
        y = self.conv2d(ops.cast(self.quantize(x), x.dtype), ops.cast(self.quantized_weight(), x.dtype))
        if self.has_bias:
            y = self.bias_add(y, self.bias)
        return y


class RetrainingDense(nn.Cell):
    """In the place of an nn.Dense; (N, C) to (N, C_out).

    Args:
        layer: the nn.Dense, whose parameters and activation it takes over.
        activation: of its input, shared with other layers that read it.
        weight: of its weight.
    """

    def __init__(self, layer: Any, activation: ActivationQuantizer, weight: WeightQuantizer) -> None:
        super().__init__(auto_prefix=False)
        self.quantize = activation
        self.quantized_weight = weight
        self.matmul = layer.matmul
        self.bias_add = ops.BiasAdd()
        self.has_bias = layer.has_bias
        if layer.has_bias:
            self.bias = layer.bias
        self.activates = layer.activation is not None
        self.activation = layer.activation

    def construct(self, x: Tensor) -> Tensor:
        """The product, and the activation that stands inside the layer."""
        y = self.matmul(ops.cast(self.quantize(x), x.dtype), ops.cast(self.quantized_weight(), x.dtype))
        if self.has_bias:
            y = self.bias_add(y, self.bias)
        if self.activates:
            y = self.activation(y)
        return y
