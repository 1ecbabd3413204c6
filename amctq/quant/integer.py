"""The integers of a quantized network: int8 weights and int32 biases on the scales of a record."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from amctq.quant import numerics
from amctq.quant.folding import FusedParameters
from amctq.quant.layers import EmbeddingTable, PoolLayer, QuantizableLayer, Topology
from amctq.quant.numerics import Float32Array, QParams
from amctq.quant.record import LayerRecord, QuantRecord
from amctq.quant.weights import QuantizedWeight, quantize_weight, scale_that_fits_bias


@dataclass(frozen=True, kw_only=True, eq=False)
class IntegerLayer:
    """One quantized layer.

    Attributes:
        layer: the layer in the float graph.
        activation: how its input is quantized.
        weight: int8 weights of shape (C_out, …) with their scales; BatchNorm is folded in.
        bias: int32 of shape (C_out,) in units of ``bias_scale``, or None.
    """

    layer: QuantizableLayer
    activation: QParams
    weight: QuantizedWeight
    bias: NDArray[np.int32] | None

    @property
    def bias_scale(self) -> Float32Array:
        """The scale of the bias: activation scale × weight scale, float32 of the weight scale's shape."""
        return np.float32(self.activation.scale) * self.weight.scale


@dataclass(frozen=True, kw_only=True)
class IntegerPool:
    """A mean over windows of integers; it has no weight.

    Attributes:
        layer: the mean in the float graph.
        activation: how its input is quantized.
    """

    layer: PoolLayer
    activation: QParams


@dataclass(frozen=True, kw_only=True, eq=False)
class IntegerTable:
    """An embedding table in integers; it has no activation.

    Attributes:
        table: the table in the float graph.
        weight: int8 of shape (rows, width), with a scale for each row or one for all.
    """

    table: EmbeddingTable
    weight: QuantizedWeight


@dataclass(frozen=True, kw_only=True, eq=False)
class IntegerWeights:
    """The weights of a network as one configuration has them; several may share a calibration.

    Attributes:
        layers: the integers of each layer.
        per_tensor: by layer that has a scale for each channel where AMCT has one for the tensor, that one.
        errors: by layer, what rounding its weight does to its output, as a share of the output's power; empty where
            there are no other weights to choose from.
    """

    layers: tuple[IntegerLayer, ...]
    per_tensor: Mapping[str, Float32Array]
    errors: Mapping[str, float]

    def only(self, names: Collection[str]) -> IntegerWeights:
        """Those of some layers."""
        return IntegerWeights(
            layers=tuple(item for item in self.layers if item.layer.name in names),
            per_tensor={name: scale for name, scale in self.per_tensor.items() if name in names},
            errors={name: error for name, error in self.errors.items() if name in names},
        )


def make_record(
    topology: Topology,
    fused: Mapping[str, FusedParameters],
    weight_scales: Mapping[str, Float32Array],
    activations: Mapping[str, QParams],
    weight_bits: Mapping[str, int] | None = None,
) -> QuantRecord:
    """Make the record of calibrated layers. Where a bias would overflow int32, the weight scale is raised.

    Args:
        topology: the layers that are quantized.
        fused: by layer, its parameters with BatchNorm folded in.
        weight_scales: by layer, float32 of shape (C_out,) or (1,).
        activations: by layer, scale and offset of its input.
        weight_bits: by layer, width of the weight's integers; 8 without it.
    """
    layers = []
    for layer in topology.layers:
        activation = activations[layer.name]
        scale = weight_scales[layer.name]
        bias = fused[layer.name].bias
        if bias is not None:
            scale = scale_that_fits_bias(scale, bias, activation.scale)
        layers.append(
            LayerRecord(
                name=layer.name,
                activation=activation,
                weight_scale=scale,
                weight_bits=8 if weight_bits is None else weight_bits[layer.name],
                skip_fusion=layer.fusion_skipped,
            )
        )
    return QuantRecord(layers=tuple(layers))


def integer_layers(
    topology: Topology, fused: Mapping[str, FusedParameters], record: QuantRecord
) -> tuple[IntegerLayer, ...]:
    """Round every layer's fused parameters to integers on the scales of the record.

    Raises:
        OverflowError: a bias does not fit int32.
    """
    return tuple(_integer_layer(layer, fused[layer.name], record[layer.name]) for layer in topology.layers)


def _integer_layer(layer: QuantizableLayer, fused: FusedParameters, entry: LayerRecord) -> IntegerLayer:
    weight = quantize_weight(fused.weight, entry.weight_scale, bits=entry.weight_bits)
    item = IntegerLayer(layer=layer, activation=entry.activation, weight=weight, bias=None)
    return item if fused.bias is None else replace(item, bias=numerics.quantize_bias(fused.bias, item.bias_scale))
