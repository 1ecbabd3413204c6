"""The section ``histograms`` of report.json: weights and activations of each layer, with the chosen clips."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amctq.quant.numerics import signed_range

if TYPE_CHECKING:
    from amctq.backends.base import QuantizedNetwork
    from amctq.quant.distribution import Distribution
    from amctq.quant.record import LayerRecord


def histograms(quantized: QuantizedNetwork, calibrated: QuantizedNetwork) -> list[dict[str, Any]]:
    """The layers whose values are known.

    Args:
        quantized: the network whose weights and clips are told.
        calibrated: the network whose calibration saw the activations; the same, or the one that training started from.
    """
    rows = []
    for layer in quantized.topology.layers:
        own, seen = quantized.distributions.get(layer.name), calibrated.distributions.get(layer.name)
        entry = quantized.record[layer.name]
        weight = None if own is None or own.weight is None else _counted(own.weight, _weight_clip(entry))
        activation = None
        if seen is not None and seen.activation is not None:
            activation = _counted(seen.activation, entry.activation.range)
        if weight is not None or activation is not None:
            rows.append({"layer": layer.name, "weight": weight, "activation": activation})
    return rows


def _counted(values: Distribution, clip: tuple[float, float]) -> dict[str, Any]:
    return {
        "lo": _short(values.low),
        "hi": _short(values.high),
        "counts": values.counts.tolist(),
        "zeros": values.zeros,
        "clip": [_short(end) for end in clip],
    }


def _weight_clip(entry: LayerRecord) -> tuple[float, float]:
    """What the integers of the channel with the largest scale stand for."""
    low, high = signed_range(entry.weight_bits)
    scale = float(entry.weight_scale.max())
    return low * scale, high * scale


def _short(value: float) -> float:
    return float(f"{value:.6g}")
