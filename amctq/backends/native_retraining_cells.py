"""Layers for retraining, as MindSpore cells: ULQ on their input, ARQ or a scale that is kept on their weight.

    x ── clip(rint(x / s), o, o + 255) × s ───┐
    weight ── rint(w / s_c) × s_c ────────────┤ the layer's operator ── + bias ── y ── BatchNorm, unfused

A cell takes the place of the layer's operator; the layer itself adds the bias and applies its activation. The formulas
and their gradients are those of ``quant.ulq``. Parameters keep the names of the float layer. The clips have the name of
the first layer that reads the tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mindspore
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from amctq.backends.compiled import Kernels
from amctq.backends.fakequant import Arq, CompiledArq, CompiledUlq, KeptScale, Ulq
from amctq.quant.config import WeightConfig
from amctq.quant.layers import QuantizableLayer
from amctq.quant.trained import EvaluatedLayer
from amctq.quant.ulq import Clips

EVALUATED = "_evaluated"


@dataclass(frozen=True, kw_only=True)
class Operators:
    """The operators that compute the quantizers.

    Attributes:
        kernels: the compiled operators; None for MindSpore's own.
        npu: they run on an NPU.
    """

    kernels: Kernels | None
    npu: bool

    def ulq(self, *, nonnegative: bool) -> Ulq:
        """A new cell for a tensor of activations."""
        if self.kernels is not None:
            return CompiledUlq(self.kernels, nonnegative=nonnegative)
        return Ulq(nonnegative=nonnegative, npu=self.npu)

    def arq(self, *, channel_wise: bool, bits: int) -> Arq:
        """A new cell for a weight."""
        if self.kernels is not None:
            return CompiledArq(self.kernels, channel_wise=channel_wise, bits=bits)
        return Arq(channel_wise=channel_wise, bits=bits, npu=self.npu)

    def kept_scale(self, *, bits: int) -> KeptScale:
        """A new cell for a weight whose scale does not follow it."""
        return KeptScale(bits=bits, npu=self.npu)


class _Float32Cell(nn.Cell):
    """Stays float32 when mixed precision makes the network float16, because scales need the precision."""

    def add_flags_recursive(self, **flags: Any) -> Any:
        """Take the flags of the whole network, except its precision."""
        if flags.keys() & {"fp16", "bf16"}:
            flags |= {"fp16": False, "bf16": False, "fp32": True}
        return super().add_flags_recursive(**flags)


class ActivationQuantizer(_Float32Cell):
    """Fake quantization of one tensor of activations, with a learned range. All layers that read the tensor share it.

    Args:
        name: the parameters are ``name.clip_max`` and ``name.clip_min``.
        clips: their initial values.
        nonnegative: the tensor comes from a ReLU.
        operators: they compute it.
    """

    def __init__(self, name: str, clips: Clips, *, nonnegative: bool, operators: Operators) -> None:
        super().__init__(auto_prefix=False)
        self.fixed_min = clips.fixed_min
        self.clip_max = Parameter(Tensor(np.float32(clips.high)), name=f"{name}.clip_max")
        self.clip_min = Parameter(
            Tensor(np.float32(clips.low)), name=f"{name}.clip_min", requires_grad=not clips.fixed_min
        )
        self.fake_quantize = operators.ulq(nonnegative=nonnegative)

    def construct(self, x: Tensor) -> Tensor:
        """Fake-quantized x."""
        return self.fake_quantize(x, self.clip_max, self.clip_min)

    @property
    def clips(self) -> Clips:
        """The current clips."""
        high, low = float(self.clip_max.asnumpy()), float(self.clip_min.asnumpy())
        return Clips(high=high, low=low, fixed_min=self.fixed_min)


class WeightQuantizer(_Float32Cell):
    """Fake quantization of a layer's weight, in every training step.

    Args:
        weight: the parameter of the layer; None if the layer computes its weight from parameters in every step.
        gamma: the gamma of the BatchNorm that will be folded into the layer; None without BatchNorm.
        shape: of the weight.
        channel_axis: the axis of the weight with the output channels, 0 or 1; None where no single axis has them.
        config: how the weight is quantized.
        scale: what the weight's scale is in all of the training; None for ARQ's, which follows the weight.
        operators: they compute it.
    """

    def __init__(
        self,
        weight: Parameter | None,
        gamma: Parameter | None,
        *,
        shape: tuple[int, ...],
        channel_axis: int | None,
        config: WeightConfig,
        scale: Parameter | None,
        operators: Operators,
    ) -> None:
        super().__init__(auto_prefix=False)
        self.has_parameter = weight is not None
        if weight is not None:
            self.weight = weight
        self.channels_second = channel_axis == 1
        self.channels_first = (1, 0, *range(2, len(shape)))  # this permutation is its own inverse
        self.gamma = Tensor(np.ones(shape[channel_axis or 0], np.float32)) if gamma is None else gamma
        self.keeps_scale = scale is not None
        if scale is None:
            self.fake_quantize = operators.arq(channel_wise=config.channel_wise, bits=config.bits)
        else:
            self.scale = scale
            self.on_scale = operators.kept_scale(bits=config.bits)

    def construct(self, computed: Tensor) -> Tensor:
        """The fake-quantized weight, of the weight's shape.

        ``computed`` is the weight as the layer hands it to its operator, in half precision perhaps. If it is a
        parameter, the parameter itself is quantized.
        """
        weight = self.weight if self.has_parameter else ops.cast(computed, mindspore.float32)
        if self.channels_second:
            weight = ops.transpose(weight, self.channels_first)
        gamma = ops.stop_gradient(self.gamma)
        weight = self.on_scale(weight, gamma, self.scale) if self.keeps_scale else self.fake_quantize(weight, gamma)
        if self.channels_second:
            weight = ops.transpose(weight, self.channels_first)
        return weight


class RetrainingProduct(nn.Cell):
    """Takes the place of a layer's operator, whatever convolution or matrix product it is.

    In an evaluation, the weight is quantized only once: ``set_train(False)`` on the network quantizes its current
    value. Then the rounding error of the exported file's int32 bias is added too.

    Args:
        layer: the layer.
        operator: its operator.
        activation: the quantizer of its input; layers that read the same tensor share it.
        weight: the quantizer of its weight.
        evaluated: returns weight and error of the bias for an evaluation that starts now; None where the layer computes
            its weight, which is then quantized anew for every batch.
    """

    def __init__(
        self,
        layer: QuantizableLayer,
        operator: Any,
        activation: ActivationQuantizer,
        weight: WeightQuantizer,
        evaluated: Callable[[], EvaluatedLayer] | None,
    ) -> None:
        super().__init__(auto_prefix=False)
        self.quantize = activation
        self.quantized_weight = weight
        self.operator = operator
        self.evaluated = evaluated
        self.keeps_weight = evaluated is not None
        self.has_bias_error = False
        if evaluated is None:
            return
        now = evaluated()
        self.weight_evaluated = Parameter(
            Tensor(now.weight), name=f"{layer.name}.weight{EVALUATED}", requires_grad=False
        )
        self.has_bias_error = now.bias_error is not None
        if now.bias_error is not None:
            # The channels are the last axis of a matrix product's result, and the second of a convolution's.
            self.columns = (-1,) if layer.kind.is_dense else (-1, *(1,) * (now.weight.ndim - 2))
            error = Tensor(now.bias_error.reshape(self.columns))
            self.bias_error = Parameter(error, name=f"{layer.name}.error{EVALUATED}", requires_grad=False)

    def add_flags_recursive(self, **flags: Any) -> Any:
        """Set the flags; when an evaluation starts, also quantize the weight."""
        evaluated = getattr(self, "evaluated", None)
        if flags.get("training") is False and evaluated is not None:
            now = evaluated()
            self.weight_evaluated.set_data(Tensor(now.weight))
            if now.bias_error is not None:
                self.bias_error.set_data(Tensor(now.bias_error.reshape(self.columns)))
        return super().add_flags_recursive(**flags)

    def construct(self, x: Tensor, weight: Tensor, *others: Any) -> Tensor:
        """The operator's result; ``others`` are further operands, such as the shape of a transposed convolution."""
        quantized = ops.cast(self.quantize(x), x.dtype)
        if self.training or not self.keeps_weight:
            return self.operator(quantized, ops.cast(self.quantized_weight(weight), x.dtype), *others)
        y = self.operator(quantized, ops.cast(self.weight_evaluated, x.dtype), *others)
        if self.has_bias_error:
            y = y + ops.cast(self.bias_error, x.dtype)
        return y
