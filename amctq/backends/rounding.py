"""The weights and biases of a quantized network, as far as they depend on what the layers read.

One pass over the calibration images tells how the inputs of every layer are correlated (GPTQ) and their means (bias
correction). The inputs are those of the float network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from amctq.backends.base import PtqConfig
from amctq.choices import Placement, WeightAlgo
from amctq.graph.float_graph import FloatGraph
from amctq.graph.windows import windows_of
from amctq.progress import Reporter
from amctq.quant.folding import FusedParameters
from amctq.quant.layers import LayerKind, QuantizableLayer, Topology
from amctq.quant.numerics import Float32Array, QParams
from amctq.quant.rounding.bias import bias_error
from amctq.quant.rounding.columns import Windows
from amctq.quant.rounding.gptq import gptq
from amctq.quant.rounding.inputs import InputStatistics, InputWatcher
from amctq.quant.rounding.scale import power_scale
from amctq.quant.weights import QuantizedWeight, quantize_weight, scale_that_fits_bias

# Weights of a channel. Beyond it the Gram matrix takes more than half a gigabyte, and its factor minutes.
_LARGEST_GRAM = 12288


@dataclass(frozen=True, kw_only=True, eq=False)
class Rounded:
    """The parameters of every layer, chosen by what it reads.

    Attributes:
        fused: by layer, a weight that its scale divides into the chosen integers, and the corrected bias.
        scales: by layer, the scale of its weight.
    """

    fused: Mapping[str, FusedParameters]
    scales: Mapping[str, Float32Array]


class WeightRounding:
    """Watches what the layers read, and then rounds their weights.

    Args:
        graph: the float network.
        topology: the layers that are quantized.
        fused: by layer, its float parameters with BatchNorm folded in.
        scales: by layer, the scale of its weight; GPTQ chooses another.
        config: how the network is quantized.
        reporter: warns of layers that GPTQ cannot round.
    """

    def __init__(
        self,
        graph: FloatGraph,
        topology: Topology,
        fused: Mapping[str, FusedParameters],
        scales: Mapping[str, Float32Array],
        config: PtqConfig,
        reporter: Reporter,
    ) -> None:
        self._fused, self._scales, self._config, self._reporter = dict(fused), dict(scales), config, reporter
        self._weights = {name: layer.weight for name, layer in config.quant.enabled.items()}
        nodes = {node.name: node for node in graph.model.graph.node}
        self._second_order: set[str] = set()
        self._corrected = {layer.name for layer in topology.layers if self._corrects(layer)}
        # Layers that read the same, as query, key and value do, share the statistics.
        self._readers: dict[tuple[str, Windows | None], list[str]] = {}
        for layer in topology.layers:
            name, weight = layer.name, fused[layer.name].weight
            if self._weights[name].algo is WeightAlgo.GPTQ:
                if reason := _why_not(layer, weight):
                    reporter.warn(f"{name}: {reason}; its weights are rounded one by one")
                else:
                    self._second_order.add(name)
            if name in self._second_order | self._corrected:
                windows = windows_of(nodes[layer.node], weight.shape[2:])
                self._readers.setdefault((layer.input, windows), []).append(name)
        self._watchers = {
            key: InputWatcher(key[1], gram=not self._second_order.isdisjoint(names))
            for key, names in self._readers.items()
        }

    @property
    def needs_float(self) -> bool:
        """Whether the weights are chosen only after the pass, so that it goes through the float network."""
        return bool(self._second_order)

    @property
    def watchers(self) -> Mapping[str, tuple[InputWatcher, ...]]:
        """By tensor, who watches it."""
        found: dict[str, tuple[InputWatcher, ...]] = {}
        for (tensor, _), watcher in self._watchers.items():
            found[tensor] = (*found.get(tensor, ()), watcher)
        return found

    def finish(self, activations: Mapping[str, QParams]) -> Rounded:
        """Round the weights and correct the biases.

        Args:
            activations: by layer, how its input is quantized.
        """
        if not self._readers:
            return Rounded(fused=self._fused, scales=self._scales)
        done = 0
        with self._reporter.phase("rounding", sum(map(len, self._readers.values())), "layers") as advance:
            for key, names in self._readers.items():
                known = self._watchers.pop(key).finish()
                for name in names:
                    self._round(name, known, activations[name])
                    done += 1
                    advance(done)
        return Rounded(fused=self._fused, scales=self._scales)

    def _corrects(self, layer: QuantizableLayer) -> bool:
        """Whether the bias of a layer is corrected: AMCT adds none to a layer, and a MatMul has none."""
        if not self._config.bias_correction or layer.channel_axis is None:
            return False
        adds = self._config.placement is Placement.ORT and layer.kind is not LayerKind.MATMUL
        return adds or self._fused[layer.name].bias is not None

    def _round(self, name: str, known: InputStatistics, activation: QParams) -> None:
        config, parameters = self._weights[name], self._fused[name]
        weight, bias = parameters.weight, parameters.bias
        if name in self._second_order:
            assert known.gram is not None
            power = np.diagonal(known.gram, axis1=1, axis2=2)
            scale = power_scale(weight, power, channel_wise=config.channel_wise, bits=config.bits)
            if bias is not None:
                scale = scale_that_fits_bias(scale, bias, activation.scale)
            rounded = self._by_gptq(name, scale, known.gram)
            self._scales[name] = scale
            self._fused[name] = replace(parameters, weight=rounded.dequantized())
        else:
            rounded = quantize_weight(weight, self._scales[name], bits=config.bits)
        if name in self._corrected:
            error = bias_error(weight, rounded.dequantized(), known.mean)
            corrected = ((0.0 if bias is None else bias.astype(np.float64)) - error).astype(np.float32)
            self._fused[name] = replace(self._fused[name], bias=corrected)

    def _by_gptq(self, name: str, scale: Float32Array, gram: Float32Array) -> QuantizedWeight:
        weight, bits = self._fused[name].weight, self._weights[name].bits
        try:
            return gptq(weight, scale, gram, bits=bits)
        except np.linalg.LinAlgError:  # its inputs are huge or not finite
            self._reporter.warn(f"{name}: its inputs have no finite power; its weights are rounded one by one")
            return quantize_weight(weight, scale, bits=bits)


def _why_not(layer: QuantizableLayer, weight: Float32Array) -> str | None:
    """Why GPTQ does not round a layer; None where it does."""
    if layer.channel_axis is None:
        return "no axis of its weight has the output channels"
    count = int(np.prod(weight.shape[1:]))
    if count > _LARGEST_GRAM:
        return f"{count:,} weights for each channel, and GPTQ takes {_LARGEST_GRAM:,} at most"
    return None
