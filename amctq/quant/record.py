"""The quantization record: the scales and offsets of every layer, which all later steps read."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from amctq.choices import WEIGHT_BITS
from amctq.quant.numerics import EPSILON, SMALLEST, Float32Array, QParams


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerRecord:
    """How one layer is quantized, as AMCT's SingleLayerRecord holds it (docs/en/reference.md, "Calibration record").

    Attributes:
        name: the cell's name; the key in AMCT's record.
        activation: scale_d and offset_d of its input.
        weight_scale: scale_w, float32 of shape (C_out,) per channel or (1,) per tensor. offset_w is always 0.
        weight_bits: width of the weight's integers, one of WEIGHT_BITS; AMCT's wts_type. Weights outside the range are
            clipped.
        skip_fusion: the BatchNorm after the layer is not folded into it.
    """

    name: str
    activation: QParams
    weight_scale: Float32Array
    weight_bits: int = 8
    skip_fusion: bool = False

    def __post_init__(self) -> None:
        scale_w = self.weight_scale
        if scale_w.ndim != 1 or scale_w.dtype != np.float32:
            message = f"{self.name}: weight scales of shape {scale_w.shape} {scale_w.dtype}, expected a float32 vector"
            raise ValueError(message)
        scales = np.append(scale_w, np.float32(self.activation.scale))
        if not (np.isfinite(scales).all() and (scales >= SMALLEST).all()):
            message = f"{self.name}: every scale must be finite and at least {SMALLEST:.3g}"
            raise ValueError(message)
        if self.weight_bits not in WEIGHT_BITS:
            message = f"{self.name}: weights of {self.weight_bits} bits, expected one of {WEIGHT_BITS}"
            raise ValueError(message)
        if not -128 <= self.activation.offset <= 127:
            message = f"{self.name}: offset_d {self.activation.offset} is outside -128…127"
            raise ValueError(message)

    @property
    def by_amcts_rule(self) -> LayerRecord:
        """The same by AMCT's rule (docs/en/reference.md, "Range to scale and offset"): no scale is below EPSILON."""
        activation, scales = self.activation, self.weight_scale
        if activation.scale < EPSILON:
            activation = QParams(1.0, 0 if activation.offset == 0 else -128)
        scales = np.where(scales < EPSILON, np.float32(1.0), scales)
        return replace(self, activation=activation, weight_scale=scales)

    def same_as(self, other: LayerRecord) -> bool:
        """Whether both quantize in the same way."""
        scales = np.array_equal(self.weight_scale, other.weight_scale)
        return scales and self.activation == other.activation and self.weight_bits == other.weight_bits


@dataclass(frozen=True, kw_only=True)
class PoolRecord:
    """How the input of a mean over windows is quantized; AMCT writes it with a scale_w of 1.

    Attributes:
        name: as the topology names it; the key in AMCT's record.
        activation: scale_d and offset_d.
    """

    name: str
    activation: QParams


@dataclass(frozen=True, kw_only=True, eq=False)
class QuantRecord:
    """The records of all quantized layers, in the order of execution, and those of the means over windows."""

    layers: tuple[LayerRecord, ...]
    pools: tuple[PoolRecord, ...] = ()

    def __post_init__(self) -> None:
        names = [layer.name for layer in self.layers] + [pool.name for pool in self.pools]
        if len(set(names)) != len(names):
            message = "duplicate layer name in the record"
            raise ValueError(message)

    def __getitem__(self, name: str) -> LayerRecord:
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(name)
