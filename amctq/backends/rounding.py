"""The weights and biases of a quantized network, as far as they depend on what the layers read.

While the network is calibrated, the inputs of every layer are watched: how they are correlated (GPTQ), and their means
(bias correction). They are those of the float network.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from amctq.backends.layer_inputs import Readers, by_tensor, gram_bytes, passes
from amctq.backends.ptq_config import PtqConfig
from amctq.choices import Placement, WeightAlgo
from amctq.graph.float_graph import FloatGraph
from amctq.graph.windows import windows_of
from amctq.progress import Reporter
from amctq.quant.folding import FusedParameters
from amctq.quant.layers import LayerKind, QuantizableLayer, Topology
from amctq.quant.numerics import FLOAT32_MAX, Float32Array, QParams
from amctq.quant.rounding.bias import bias_error
from amctq.quant.rounding.columns import Windows
from amctq.quant.rounding.error import relative_error
from amctq.quant.rounding.gptq import around_mean, gptq, operations
from amctq.quant.rounding.inputs import InputStatistics, InputWatcher
from amctq.quant.rounding.scale import NEIGHBOURS, power_scale, refitted_scale
from amctq.quant.rounding.squant import squant
from amctq.quant.weights import QuantizedWeight, quantize_weight, scale_that_fits_bias

WatchAgain = Callable[[Mapping[str, tuple[InputWatcher, ...]]], object]
ROUNDING = "rounding"  # the phase
# Weights of a channel. Beyond it the Gram matrix takes more than half a gigabyte, and its factor minutes.
_LARGEST_GRAM = 12288


@dataclass(frozen=True, kw_only=True, eq=False)
class Rounded:
    """The parameters of every layer, chosen by what it reads.

    Attributes:
        fused: by layer, a weight that its scale divides into the chosen integers, and the corrected bias.
        scales: by layer, the scale of its weight.
        bits: by layer, the width of its weight.
        errors: by layer, the error of its output that rounding the weight makes, as a share of the output's power: by
            the Gram matrix of its inputs, or of all inputs alike where that is not known.
    """

    fused: dict[str, FusedParameters]
    scales: dict[str, Float32Array]
    bits: Mapping[str, int]
    errors: dict[str, float] = field(default_factory=dict)


class WeightRounding:
    """Rounds each weight alone, watches what the layers read, and then rounds the weights by that.

    Args:
        graph: the float network.
        topology: the layers that are quantized.
        fused: by layer, its float parameters.
        config: how the network is quantized.
        reporter: gets progress, and warnings of layers that GPTQ cannot round.
    """

    def __init__(
        self,
        graph: FloatGraph,
        topology: Topology,
        fused: Mapping[str, FusedParameters],
        config: PtqConfig,
        reporter: Reporter,
    ) -> None:
        self.fused = fused
        self._config, self._reporter = config, reporter
        self._weights = {name: layer.weight for name, layer in config.quant.enabled.items()}
        self._by_kernel = {layer.name for layer in topology.layers if self._rounds_kernels(layer)}
        self._second_order = {layer.name for layer in topology.layers if self._rounds_by_inputs(layer)}
        self._corrected = {layer.name for layer in topology.layers if self._corrects(layer)}
        own = {name: weight.bits for name, weight in self._weights.items()}
        widths = (own, *(dict.fromkeys(own, bits) for bits in config.other_widths))
        self._found = tuple(Rounded(fused=dict(fused), scales={}, bits=bits) for bits in widths)
        self._alone: dict[str, FusedParameters] = {}
        with reporter.phase("weights", len(topology.layers), "layers") as advance:
            for done, layer in enumerate(topology.layers, 1):
                if layer.name not in self._second_order:
                    self._round_alone(layer)
                advance(done)
        self._passes = tuple(passes(self._read(graph, topology)))

    @property
    def while_calibrating(self) -> Mapping[str, FusedParameters]:
        """By layer, its parameters: rounded as in AMCT, but in float where weights wait for what they read."""
        return self.fused if self._second_order else self._alone

    @property
    def watchers(self) -> Mapping[str, tuple[InputWatcher, ...]]:
        """By tensor, who watches it while the network is calibrated."""
        return by_tensor(self._passes[0]) if self._passes else {}

    def finish(self, activations: Mapping[str, QParams], watch_again: WatchAgain) -> tuple[Rounded, ...]:
        """Round the weights and correct the biases: at the configured widths, and at each of the other widths.

        Args:
            activations: by layer, how its input is quantized.
            watch_again: shows the images once more, to layers that the first pass had no memory for.
        """
        for name, found in itertools.product(self._alone, self._found):
            self._choose_alone(found, name, activations[name])
        costs = {name: self._cost(name) for item in itertools.chain(*self._passes) for name in item.layers}
        total, spent, done = max(sum(costs.values()), 1), 0, 0
        for index, readers in enumerate(self._passes):
            if index:
                watch_again(by_tensor(readers))
            with self._reporter.phase(ROUNDING, 100, "%", done=100 * spent // total) as advance:
                for item in readers:
                    known = item.watcher.finish()
                    for name in item.layers:
                        for found in self._found:
                            self._choose(found, name, known, activations[name])
                        spent, done = spent + costs[name], done + 1
                        advance(100 * spent // total, f"{done} of {len(costs)} layers")
        return self._found

    def _rounds_by_inputs(self, layer: QuantizableLayer) -> bool:
        if self._weights[layer.name].algo is not WeightAlgo.GPTQ:
            return False
        reason = _why_not(layer, self.fused[layer.name].weight)
        if reason is not None:
            self._reporter.warn(f"{layer.name}: {reason}; its weights are rounded one by one")
        return reason is None

    def _rounds_kernels(self, layer: QuantizableLayer) -> bool:
        return self._weights[layer.name].algo is WeightAlgo.SQUANT and layer.channel_axis is not None

    def _corrects(self, layer: QuantizableLayer) -> bool:
        """Whether the bias of a layer is corrected: AMCT adds none to a layer, and a MatMul has none."""
        if not self._config.bias_correction or layer.channel_axis is None:
            return False
        adds = self._config.placement is Placement.ORT and layer.kind is not LayerKind.MATMUL
        return adds or self.fused[layer.name].bias is not None

    def _read(self, graph: FloatGraph, topology: Topology) -> Iterator[Readers]:
        """Who reads what, in the order of execution."""
        nodes = {node.name: node for node in graph.model.graph.node}
        found: dict[tuple[str, Windows | None], list[str]] = {}
        for layer in topology.layers:
            if layer.name in self._second_order | self._corrected:
                windows = windows_of(nodes[layer.node], self.fused[layer.name].weight.shape[2:])
                found.setdefault((layer.input, windows), []).append(layer.name)
        for (tensor, windows), names in found.items():
            gram = not self._second_order.isdisjoint(names)
            watcher = InputWatcher(windows, second=gram)
            size = gram_bytes(self.fused[names[0]].weight, 1 if windows is None else windows.groups) if gram else 0
            yield Readers(tensor=tensor, layers=tuple(names), watcher=watcher, gram_bytes=size)

    def _round_alone(self, layer: QuantizableLayer) -> None:
        """Round a weight without what the layer reads; the network is calibrated with its configured width."""
        name = layer.name
        parameters = self.fused[name]
        for found in self._found:
            weight = replace(self._weights[name], bits=found.bits[name])
            found.scales[name] = self._config.weight_scale(layer, weight, parameters.weight)
        self._alone[name] = replace(parameters, weight=self._nearest(self._found[0], name).dequantized())

    def _nearest(self, found: Rounded, name: str) -> QuantizedWeight:
        weight, scale, bits = self.fused[name].weight, found.scales[name], found.bits[name]
        if name in self._by_kernel:
            return squant(weight, scale, bits=bits)
        return quantize_weight(weight, scale, bits=bits)

    def _choose_alone(self, found: Rounded, name: str, activation: QParams) -> None:
        """Keep what rounding alone has found, but for a scale that the bias does not allow."""
        parameters = self.fused[name]
        if name in self._by_kernel:  # else the float weight gives these integers again
            found.scales[name] = _limited(found.scales[name], bias=parameters.bias, activation=activation)
            found.fused[name] = replace(parameters, weight=self._nearest(found, name).dequantized())
        if self._config.other_widths:
            found.errors[name] = relative_error(parameters.weight, self._nearest(found, name).dequantized())

    def _choose(self, found: Rounded, name: str, known: InputStatistics, activation: QParams) -> None:
        parameters = self.fused[name]
        weight, bias = parameters.weight, parameters.bias
        if name in self._second_order:
            assert known.second is not None
            gram = around_mean(known.second) if name in self._corrected else known.second.gram
            limit = partial(_limited, bias=bias, activation=activation)
            rounded = self._by_second_order(found, name, gram, limit)
            found.scales[name] = rounded.scale
            found.fused[name] = replace(parameters, weight=rounded.dequantized())
            if self._config.other_widths:
                found.errors[name] = relative_error(weight, rounded.dequantized(), gram)
        else:
            rounded = self._nearest(found, name)
        if name in self._corrected:
            error = bias_error(weight, rounded.dequantized(), known.mean)
            corrected = (0.0 if bias is None else bias.astype(np.float64)) - error
            corrected = np.clip(corrected, -FLOAT32_MAX, FLOAT32_MAX).astype(np.float32)
            found.fused[name] = replace(found.fused[name], bias=corrected)

    def _by_second_order(
        self,
        found: Rounded,
        name: str,
        gram: Float32Array,
        limit: Callable[[Float32Array], Float32Array],
    ) -> QuantizedWeight:
        weight, config, bits = self.fused[name].weight, self._weights[name], found.bits[name]
        power = np.diagonal(gram, axis1=1, axis2=2)
        smallest = self._config.smallest_scale
        alone = power_scale(weight, power, channel_wise=config.channel_wise, bits=bits, smallest=smallest)
        scales = [limit(alone * np.float32(share)) for share in NEIGHBOURS]
        try:
            rounded = gptq(weight, scales, gram, bits=bits)
        except np.linalg.LinAlgError:  # its inputs are huge or not finite
            self._reporter.warn(f"{name}: its inputs have no finite power; its weights are rounded one by one")
            rounded = quantize_weight(weight, scales[0], bits=bits)
        refitted = refitted_scale(rounded, weight, gram)
        return replace(rounded, scale=np.where(limit(refitted) == refitted, refitted, rounded.scale))

    def _cost(self, name: str) -> int:
        weight = self.fused[name].weight
        return operations(weight.shape) if name in self._second_order else weight.size


def _limited(scale: Float32Array, *, bias: Float32Array | None, activation: QParams) -> Float32Array:
    return scale if bias is None else scale_that_fits_bias(scale, bias, activation.scale)


def _why_not(layer: QuantizableLayer, weight: Float32Array) -> str | None:
    """Why GPTQ does not round a layer; None where it does."""
    if layer.channel_axis is None:
        return "no axis of its weight has the output channels"
    count = int(np.prod(weight.shape[1:]))
    if count > _LARGEST_GRAM:
        return f"{count:,} weights for each channel, and GPTQ takes {_LARGEST_GRAM:,} at most"
    return None
