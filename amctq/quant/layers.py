"""The layers of a network that can be quantized, and the BatchNorm that is fused with each."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace
from enum import Enum


class LayerKind(str, Enum):
    """The layer types that are quantized, by their names in AMCT."""

    CONV = "Conv2d"
    DENSE = "Dense"


@dataclass(frozen=True, kw_only=True)
class BatchNorm:
    """The BatchNormalization after a convolution; the fields are names of initializers of shape (C_out,)."""

    gamma: str
    beta: str
    mean: str
    variance: str
    epsilon: float


@dataclass(frozen=True, kw_only=True)
class QuantizableLayer:
    """One Conv2d or Dense with constant weights.

    Attributes:
        name: the cell's name in MindSpore, such as ``layer1.0.conv1``.
        kind: Conv2d or Dense.
        node: name of its ONNX node.
        input: name of the tensor that it reads. Layers with the same input share one activation quantizer.
        raw_output: name of the tensor that its node yields.
        output: the same, or what the BatchNorm yields where one is fused.
        weight: name of the initializer of shape (C_out, …).
        bias: name of the initializer of shape (C_out,), or None.
        batch_norm: the BatchNorm that is fused, or None.
        batch_norm_node: name of its ONNX node, or None.
        fusion_skipped: a BatchNorm follows, but is not fused.
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
        """The same layer; its BatchNorm stays a node of its own."""
        return replace(
            self,
            output=self.raw_output,
            batch_norm=None,
            batch_norm_node=None,
            fusion_skipped=self.batch_norm is not None,
        )


@dataclass(frozen=True, kw_only=True)
class FloatLayer:
    """A convolution or Dense that stays in float, and the reason."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Topology:
    """The layers of a network that can be quantized and those that cannot, in the order of execution."""

    layers: tuple[QuantizableLayer, ...]
    left_in_float: tuple[FloatLayer, ...]

    def without_fusion(self, names: Container[str]) -> Topology:
        """The same topology; the layers with these names are not fused with their BatchNorm."""
        return replace(
            self, layers=tuple(layer.without_fusion() if layer.name in names else layer for layer in self.layers)
        )

    def only(self, names: Container[str]) -> Topology:
        """The same topology with only the layers of these names."""
        return replace(self, layers=tuple(layer for layer in self.layers if layer.name in names))
