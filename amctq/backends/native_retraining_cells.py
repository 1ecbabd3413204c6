"""Layers for retraining, as MindSpore cells: ULQ on their input, ARQ on their weight.

    x ── clip(rint(x / s), o, o + 255) × s ───┐
    weight ── rint(w / s_c) × s_c ────────────┤ Conv2D/MatMul ── + bias ── y ── BatchNorm, unfused

The formulas and their gradients are those of ``quant.ulq``. Parameters keep the names of the float layer. The clips
have the name of the first layer that reads the tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from amctq.backends.compiled import Kernels
from amctq.backends.fakequant import Arq, CompiledArq, CompiledUlq, Ulq
from amctq.quant.config import WeightConfig
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
        weight: the parameter of the layer.
        gamma: the gamma of the BatchNorm that will be folded into the layer; None without BatchNorm.
        config: how the weight is quantized.
        operators: they compute it.
    """

    def __init__(
        self, weight: Parameter, gamma: Parameter | None, *, config: WeightConfig, operators: Operators
    ) -> None:
        super().__init__(auto_prefix=False)
        self.weight = weight
        self.gamma = Tensor(np.ones(weight.shape[0], np.float32)) if gamma is None else gamma
        self.fake_quantize = operators.arq(channel_wise=config.channel_wise, bits=config.bits)

    def construct(self) -> Tensor:
        """The fake-quantized weight, (C_out, …)."""
        return self.fake_quantize(self.weight, ops.stop_gradient(self.gamma))


class RetrainingLayer(nn.Cell):
    """Replaces an nn.Conv2d, (N, C, H, W) to (N, C_out, H', W'), or an nn.Dense, (N, C) to (N, C_out).

    In an evaluation, weight and bias are quantized only once: ``set_train(False)`` on the network quantizes their
    current values.

    Args:
        layer: the float cell, whose parameters it takes over.
        activation: the quantizer of its input; layers that read the same tensor share it.
        weight: the quantizer of its weight.
        evaluated: returns weight and bias for an evaluation that starts now.
    """

    def __init__(
        self,
        layer: Any,
        activation: ActivationQuantizer,
        weight: WeightQuantizer,
        evaluated: Callable[[], EvaluatedLayer],
    ) -> None:
        super().__init__(auto_prefix=False)
        is_conv = isinstance(layer, nn.Conv2d)
        self.quantize = activation
        self.quantized_weight = weight
        self.product = layer.conv2d if is_conv else layer.matmul
        self.bias_add = ops.BiasAdd()
        self.activation: Any = None if is_conv else layer.activation
        self.activates = self.activation is not None
        self.has_bias = layer.has_bias
        if layer.has_bias:
            self.bias = layer.bias
        name, now = weight.weight.name.removesuffix(".weight"), evaluated()
        self.weight_evaluated = Parameter(Tensor(now.weight), name=f"{name}.weight{EVALUATED}", requires_grad=False)
        self.has_bias_evaluated = now.bias is not None
        if now.bias is not None:
            self.bias_evaluated = Parameter(Tensor(now.bias), name=f"{name}.bias{EVALUATED}", requires_grad=False)
        self.evaluated = evaluated

    def add_flags_recursive(self, **flags: Any) -> Any:
        """Set the flags; when an evaluation starts, also quantize weight and bias."""
        if flags.get("training") is False and hasattr(self, "evaluated"):
            now = self.evaluated()
            self.weight_evaluated.set_data(Tensor(now.weight))
            if now.bias is not None:
                self.bias_evaluated.set_data(Tensor(now.bias))
        return super().add_flags_recursive(**flags)

    def construct(self, x: Tensor) -> Tensor:
        """The product, the bias and the activation inside the layer."""
        quantized = ops.cast(self.quantize(x), x.dtype)
        if self.training:
            y = self.product(quantized, ops.cast(self.quantized_weight(), x.dtype))
            if self.has_bias:
                y = self.bias_add(y, self.bias)
        else:
            y = self.product(quantized, ops.cast(self.weight_evaluated, x.dtype))
            if self.has_bias_evaluated:
                y = self.bias_add(y, self.bias_evaluated)
        if self.activates:
            y = self.activation(y)
        return y
