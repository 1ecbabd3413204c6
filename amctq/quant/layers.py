"""The layers of a network that can be quantized, and what is fused with them."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace
from enum import Enum


class LayerKind(str, Enum):
    """What AMCT calls the layer types that it quantizes."""

    CONV = "Conv2d"
    DENSE = "Dense"


@dataclass(frozen=True, kw_only=True)
class BatchNorm:
    """The BatchNormalization that a convolution is fused with; fields name initializers of shape (C_out,)."""

    gamma: str
    beta: str
    mean: str
    variance: str
    epsilon: float


@dataclass(frozen=True, kw_only=True)
class QuantizableLayer:
    """One Conv2d or Dense with constant weights.

    Attributes:
        name: the cell's name in MindSpore, ``layer1.0.conv1``.
        kind: Conv2d or Dense.
        node: name of its ONNX node.
        input: tensor that it reads. Layers with the same input share one activation quantizer.
        raw_output: tensor that its node yields.
        output: tensor that it yields, after the BatchNorm where one is fused.
        weight: initializer of shape (C_out, …).
        bias: initializer of shape (C_out,), or None.
        batch_norm: what is fused into it, or None.
        batch_norm_node: name of that node, or None.
        fusion_skipped: a BatchNorm follows, and is not fused.
    """

    name: str
    kind: LayerKind
    node: str
    input: str
    raw_output: str
    output: str
    weight: str
    bias: str | None
    batch_norm: BatchNorm | None
    batch_norm_node: str | None
    fusion_skipped: bool = False

    def without_fusion(self) -> QuantizableLayer:
        """The same layer, its BatchNorm left behind it."""
        return replace(
            self,
            output=self.raw_output,
            batch_norm=None,
            batch_norm_node=None,
            fusion_skipped=self.batch_norm is not None,
        )


@dataclass(frozen=True, kw_only=True)
class FloatLayer:
    """A Conv or Dense that stays in float, and why."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Topology:
    """All layers of a network that can be quantized, in the order of execution, and those that cannot."""

    layers: tuple[QuantizableLayer, ...]
    left_in_float: tuple[FloatLayer, ...]

    def without_fusion(self, names: Container[str]) -> Topology:
        """The same, the layers of these names without their BatchNorm."""
        return replace(
            self, layers=tuple(layer.without_fusion() if layer.name in names else layer for layer in self.layers)
        )

    def only(self, names: Container[str]) -> Topology:
        """The same with the layers of these names alone."""
        return replace(self, layers=tuple(layer for layer in self.layers if layer.name in names))
