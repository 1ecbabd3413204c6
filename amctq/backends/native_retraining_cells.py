"""Layers that learn to be quantized, as MindSpore cells: ULQ on their input, ARQ on their weight.

    x ── clip(rint(x / s), o, o + 255) × s ───┐
    weight ── rint(w / s_c) × s_c ────────────┤ Conv2D/MatMul ── + bias ── y ── BatchNorm, unfused

The formulas and their gradients are those of ``quant.ulq``. Parameters keep the float layer's names; the clips are
named after the first layer that reads the tensor.
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
    """What the quantizers are computed with.

    Attributes:
        kernels: the compiled ones; None for MindSpore's own.
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
    """Stays float32 where mixed precision makes the network around it half: its scales need the digits."""

    def add_flags_recursive(self, **flags: Any) -> Any:
        """Take over what is said to a whole network, but for its precision."""
        if flags.keys() & {"fp16", "bf16"}:
            flags |= {"fp16": False, "bf16": False, "fp32": True}
        return super().add_flags_recursive(**flags)


class ActivationQuantizer(_Float32Cell):
    """One tensor of activations on the grid of its learned range, whichever layers read it.

    Args:
        name: the parameters are called ``name.clip_max`` and ``name.clip_min``.
        clips: where training starts.
        nonnegative: the tensor comes from a ReLU.
        operators: what computes it.
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
        """Where training has come to."""
        high, low = float(self.clip_max.asnumpy()), float(self.clip_min.asnumpy())
        return Clips(high=high, low=low, fixed_min=self.fixed_min)


class WeightQuantizer(_Float32Cell):
    """A layer's weight, fake-quantized anew in every training step.

    Args:
        weight: the layer's parameter.
        gamma: that of the BatchNorm which will be folded into the layer; None without one.
        config: how it is quantized.
        operators: what computes it.
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


class _RetrainingLayer(nn.Cell):
    """What both kinds have in common: in an evaluation, weight and bias are made ready once.

    Whatever switches the network to evaluation (``set_train(False)``) takes them as they are then.

    Args:
        layer: the float cell, whose parameters it takes over.
        activation: of its input, shared with other layers that read it.
        weight: of its weight.
        evaluated: gives what the layer computes with in an evaluation that begins now.
    """

    def __init__(
        self,
        layer: Any,
        activation: ActivationQuantizer,
        weight: WeightQuantizer,
        evaluated: Callable[[], EvaluatedLayer],
    ) -> None:
        super().__init__(auto_prefix=False)
        self.quantize = activation
        self.quantized_weight = weight
        self.bias_add = ops.BiasAdd()
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
        """Beside what a cell does of its own: make ready when an evaluation begins."""
        if flags.get("training") is False and hasattr(self, "evaluated"):
            now = self.evaluated()
            self.weight_evaluated.set_data(Tensor(now.weight))
            if now.bias is not None:
                self.bias_evaluated.set_data(Tensor(now.bias))
        return super().add_flags_recursive(**flags)


class RetrainingConv2d(_RetrainingLayer):
    """In the place of an nn.Conv2d; (N, C, H, W) to (N, C_out, H', W')."""

    def __init__(
        self,
        layer: Any,
        activation: ActivationQuantizer,
        weight: WeightQuantizer,
        evaluated: Callable[[], EvaluatedLayer],
    ) -> None:
        super().__init__(layer, activation, weight, evaluated)
        self.conv2d = layer.conv2d

    def construct(self, x: Tensor) -> Tensor:
        """The convolution."""
        quantized = ops.cast(self.quantize(x), x.dtype)
        if self.training:
            y = self.conv2d(quantized, ops.cast(self.quantized_weight(), x.dtype))
            if self.has_bias:
                y = self.bias_add(y, self.bias)
            return y
        y = self.conv2d(quantized, ops.cast(self.weight_evaluated, x.dtype))
        if self.has_bias_evaluated:
            y = self.bias_add(y, self.bias_evaluated)
        return y


class RetrainingDense(_RetrainingLayer):
    """In the place of an nn.Dense; (N, C) to (N, C_out)."""

    def __init__(
        self,
        layer: Any,
        activation: ActivationQuantizer,
        weight: WeightQuantizer,
        evaluated: Callable[[], EvaluatedLayer],
    ) -> None:
        super().__init__(layer, activation, weight, evaluated)
        self.matmul = layer.matmul
        self.activates = layer.activation is not None
        self.activation = layer.activation

    def construct(self, x: Tensor) -> Tensor:
        """The product, and the activation that stands inside the layer."""
        quantized = ops.cast(self.quantize(x), x.dtype)
        if self.training:
            y = self.matmul(quantized, ops.cast(self.quantized_weight(), x.dtype))
            if self.has_bias:
                y = self.bias_add(y, self.bias)
        else:
            y = self.matmul(quantized, ops.cast(self.weight_evaluated, x.dtype))
            if self.has_bias_evaluated:
                y = self.bias_add(y, self.bias_evaluated)
        if self.activates:
            y = self.activation(y)
        return y
