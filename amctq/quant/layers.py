"""The layers of a network that can be quantized, and the BatchNorm that is fused with each."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray


class LayerKind(str, Enum):
    """The layer types that are quantized, by the names of their MindSpore cells. AMCT has Conv2d and Dense only."""

    CONV = "Conv2d"
    CONV1D = "Conv1d"
    CONV3D = "Conv3d"
    TRANSPOSED = "ConvTranspose"
    DENSE = "Dense"
    MATMUL = "MatMul"

    @property
    def is_dense(self) -> bool:
        """A product with a matrix, else a convolution."""
        return self in {LayerKind.DENSE, LayerKind.MATMUL}


AMCT_KINDS = (LayerKind.CONV, LayerKind.DENSE)


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
    """One convolution or matrix product with constant weights.

    Attributes:
        name: the cell's name in MindSpore, such as ``layer1.0.conv1``; from the second use of one weight on with a
            number behind it.
        kind: the type of the layer.
        node: name of its ONNX node.
        input: name of the tensor that it reads. Layers with the same input share one activation quantizer.
        raw_output: name of the tensor that its node yields.
        output: the same, or what the BatchNorm yields where one is fused.
        weight: name of the constant tensor with its weight.
        channel_axis: the axis of the weight that has the output channels; None where no single axis has them, so that
            the weight has one scale.
        bias: name of the initializer of shape (C_out,), or None.
        batch_norm: the BatchNorm that is fused, or None.
        batch_norm_node: name of its ONNX node, or None.
        fusion_skipped: a BatchNorm follows, but is not fused.
        depthwise: it multiplies each channel by weights of its own.
        beyond_amct: why AMCT cannot quantize it; None where it can.
        beyond_amct_int4: why AMCT cannot give it weights of 4 bits, two to a byte along C_in; None where it can.
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
    channel_axis: int | None = 0
    fusion_skipped: bool = False
    depthwise: bool = False
    beyond_amct: str | None = None
    beyond_amct_int4: str | None = None

    @property
    def packs_int4(self) -> bool:
        """Whether AMCT can store two of its weights of 4 bits in a byte."""
        return self.beyond_amct_int4 is None

    def by_channel(self, weight: NDArray[Any]) -> NDArray[Any]:
        """The weight as quantization sees it: output channels first."""
        return np.moveaxis(weight, self.channel_axis, 0) if self.channel_axis else weight

    def as_stored(self, weight: NDArray[Any]) -> NDArray[Any]:
        """The inverse: the weight as the graph holds it."""
        return np.ascontiguousarray(np.moveaxis(weight, 0, self.channel_axis)) if self.channel_axis else weight

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
class PoolLayer:
    """A mean over windows of height and width: it has no weight, but AMCT can quantize what it reads.

    Attributes:
        name: the cell's name in MindSpore; that of the primitive where it is called in the network itself.
        node: name of its ONNX node.
        input: name of the tensor that it reads.
        output: name of the tensor that it yields.
    """

    name: str
    node: str
    input: str
    output: str


@dataclass(frozen=True, kw_only=True)
class EmbeddingTable:
    """A constant matrix from which rows are picked by number. It reads no activation that could be quantized.

    Attributes:
        name: the cell's name in MindSpore, or that of the parameter where a layer has the cell's name.
        weight: name of the constant tensor, float32 of shape (rows, width).
        nodes: names of the ONNX nodes that pick rows.
    """

    name: str
    weight: str
    nodes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class FloatLayer:
    """A convolution, Dense or embedding table that stays in float, and the reason."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Topology:
    """The layers of a network that can be quantized and those that cannot, in the order of execution.

    Attributes:
        layers: those that can.
        left_in_float: those that cannot.
        pools: means over windows. They stay in float unless a file of AMCT names them.
        no_pools: why no mean over windows can be quantized; None where all can.
        tables: embedding tables that can be quantized, with placement ``ort``.
    """

    layers: tuple[QuantizableLayer, ...]
    left_in_float: tuple[FloatLayer, ...]
    pools: tuple[PoolLayer, ...] = ()
    no_pools: str | None = None
    tables: tuple[EmbeddingTable, ...] = ()

    def without_fusion(self, names: Container[str]) -> Topology:
        """The same topology; the layers with these names are not fused with their BatchNorm."""
        return replace(
            self, layers=tuple(layer.without_fusion() if layer.name in names else layer for layer in self.layers)
        )

    def within_amct(self, because: str, *, but: Container[str] = ()) -> Topology:
        """The same topology; what AMCT cannot quantize stays in float.

        Args:
            because: why AMCT's limits hold.
            but: names of layers and embedding tables that do not stay in float.
        """
        beyond = {
            layer.name: layer.beyond_amct
            for layer in self.layers
            if layer.beyond_amct is not None and layer.name not in but
        }
        return self.leaving_in_float(beyond, because).without_tables(because, but=but)

    def leaving_in_float(self, reasons: Mapping[str, str], because: str) -> Topology:
        """The same topology; some layers stay in float.

        Args:
            reasons: by layer, what is special about it.
            because: why this matters.
        """
        added = tuple(FloatLayer(name=name, reason=f"{reason} ({because})") for name, reason in reasons.items())
        return replace(
            self,
            layers=tuple(layer for layer in self.layers if layer.name not in reasons),
            left_in_float=self.left_in_float + added,
        )

    def without_pools(self, because: str) -> Topology:
        """The same topology; no mean over windows is quantized, ``because`` of this."""
        return replace(self, pools=(), no_pools=because)

    def without_tables(self, because: str, *, but: Container[str] = ()) -> Topology:
        """The same topology; embedding tables stay in float, ``because`` of this, but for those of some names."""
        kept = tuple(table for table in self.tables if table.name in but)
        added = tuple(
            FloatLayer(name=table.name, reason=f"an embedding table ({because})")
            for table in self.tables
            if table not in kept
        )
        return replace(self, tables=kept, left_in_float=self.left_in_float + added)

    def only(self, names: Container[str], *, pools: Container[str] = (), tables: Container[str] = ()) -> Topology:
        """The same topology with only the layers, the means over windows and the tables of these names."""
        return replace(
            self,
            layers=tuple(layer for layer in self.layers if layer.name in names),
            pools=tuple(pool for pool in self.pools if pool.name in pools),
            tables=tuple(table for table in self.tables if table.name in tables),
        )
