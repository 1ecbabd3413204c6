"""The weights of a network as one configuration has them: their scales, the rounded values and the corrected biases."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from amctq.backends.ptq_config import PtqConfig
from amctq.choices import Placement, WeightAlgo
from amctq.progress import Reporter
from amctq.quant.folding import FusedParameters
from amctq.quant.layers import LayerKind, QuantizableLayer, Topology
from amctq.quant.numerics import FLOAT32_MAX, Float32Array, QParams
from amctq.quant.rounding.bias import bias_error
from amctq.quant.rounding.error import relative_error
from amctq.quant.rounding.gptaq import target
from amctq.quant.rounding.gptq import OF_THE_MEAN, gptq, operations
from amctq.quant.rounding.inputs import InputStatistics
from amctq.quant.rounding.scale import NEIGHBOURS, power_scale, refitted_scale
from amctq.quant.rounding.squant import squant
from amctq.quant.weights import QuantizedWeight, quantize_weight, scale_that_fits_bias

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
            the Gram matrix of its inputs, or of all inputs alike where that is not known. Empty where there are no
            other weights to choose from.
    """

    fused: dict[str, FusedParameters]
    scales: dict[str, Float32Array]
    bits: Mapping[str, int]
    errors: dict[str, float] = field(default_factory=dict)


class WeightChoice:
    """Rounds the weights of one configuration.

    Args:
        topology: the layers that are quantized.
        fused: by layer, its float parameters.
        config: how the network is quantized.
        reporter: gets warnings of layers that GPTQ cannot round.

    Attributes:
        second_order: the layers that GPTQ or GPTAQ rounds.
        in_order: those of them that GPTAQ rounds, when the layers before them are rounded.
        corrected: the layers whose bias is corrected.
        alone: by layer that is rounded without what it reads, its parameters.
        found: the parameters of every layer.
    """

    def __init__(
        self, topology: Topology, fused: Mapping[str, FusedParameters], config: PtqConfig, reporter: Reporter
    ) -> None:
        self._fused, self._config, self._reporter = fused, config, reporter
        self._weights = {name: layer.weight for name, layer in config.quant.enabled.items()}
        self._by_kernel = {layer.name for layer in topology.layers if self._rounds_kernels(layer)}
        self.second_order = frozenset(layer.name for layer in topology.layers if self._rounds_by_inputs(layer))
        self.in_order = frozenset(name for name in self.second_order if self._weights[name].algo is WeightAlgo.GPTAQ)
        self.corrected = frozenset(layer.name for layer in topology.layers if self._corrects(layer))
        self.alone: dict[str, FusedParameters] = {}
        bits = {name: weight.bits for name, weight in self._weights.items()}
        self.found = Rounded(fused=dict(fused), scales={}, bits=bits)

    def round_alone(self, layer: QuantizableLayer) -> None:
        """Round a weight without what the layer reads, unless it waits for that."""
        name = layer.name
        if name in self.second_order:
            return
        parameters = self._fused[name]
        self.found.scales[name] = self._config.weight_scale(layer, self._weights[name], parameters.weight)
        self.alone[name] = replace(parameters, weight=self._nearest(name).dequantized())

    def choose_alone(self, activations: Mapping[str, QParams]) -> None:
        """Keep what rounding alone has found, but for a scale that the bias does not allow."""
        for name in self.alone:
            parameters = self._fused[name]
            if name in self._by_kernel:  # else the float weight gives these integers again
                scale = self.found.scales[name]
                self.found.scales[name] = _limited(scale, bias=parameters.bias, activation=activations[name])
                self.found.fused[name] = replace(parameters, weight=self._nearest(name).dequantized())
            if self._config.others:
                self.found.errors[name] = relative_error(parameters.weight, self._nearest(name).dequantized())

    def choose(self, name: str, known: InputStatistics, activation: QParams) -> None:
        """Round a weight by what the layer reads, and correct its bias.

        Args:
            name: of the layer.
            known: what it reads.
            activation: how that is quantized.
        """
        parameters = self._fused[name]
        weight, bias = parameters.weight, parameters.bias
        if name in self.second_order:
            assert known.second is not None
            share = OF_THE_MEAN if name in self.corrected else 1.0
            limit = partial(_limited, bias=bias, activation=activation)
            gram = known.second.around(share)
            rounded = self._by_second_order(name, _aim(weight, known, gram, share), gram, limit)
            self.found.scales[name] = rounded.scale
            self.found.fused[name] = replace(parameters, weight=rounded.dequantized())
            if self._config.others:
                self.found.errors[name] = relative_error(weight, rounded.dequantized(), gram)
        else:
            rounded = self._nearest(name)
        if name in self.corrected:
            wanted = None if known.wanted is None else known.wanted.mean
            error = bias_error(weight, rounded.dequantized(), known.mean, wanted)
            corrected = (0.0 if bias is None else bias.astype(np.float64)) - error
            corrected = np.clip(corrected, -FLOAT32_MAX, FLOAT32_MAX).astype(np.float32)
            self.found.fused[name] = replace(self.found.fused[name], bias=corrected)

    @property
    def so_far(self) -> Mapping[str, FusedParameters]:
        """The parameters of every layer: rounded where that is done, else in float."""
        rounded = {
            name: replace(self.found.fused[name], weight=self._nearest(name).dequantized()) for name in self.alone
        }
        return {**self.found.fused, **rounded}

    def cost(self, name: str) -> int:
        """About how many operations it takes to round a weight."""
        weight = self._fused[name].weight
        return operations(weight.shape) if name in self.second_order else weight.size

    def _rounds_by_inputs(self, layer: QuantizableLayer) -> bool:
        algo = self._weights[layer.name].algo
        if not algo.by_inputs:
            return False
        reason = _why_not(layer, self._fused[layer.name].weight, algo)
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
        return adds or self._fused[layer.name].bias is not None

    def _nearest(self, name: str) -> QuantizedWeight:
        weight, scale, bits = self._fused[name].weight, self.found.scales[name], self.found.bits[name]
        if name in self._by_kernel:
            return squant(weight, scale, bits=bits)
        return quantize_weight(weight, scale, bits=bits)

    def _by_second_order(
        self,
        name: str,
        weight: Float32Array,
        gram: Float32Array,
        limit: Callable[[Float32Array], Float32Array],
    ) -> QuantizedWeight:
        config, bits = self._weights[name], self.found.bits[name]
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


def _limited(scale: Float32Array, *, bias: Float32Array | None, activation: QParams) -> Float32Array:
    return scale if bias is None else scale_that_fits_bias(scale, bias, activation.scale)


def _aim(weight: Float32Array, known: InputStatistics, gram: Float32Array, share: float) -> Float32Array:
    """What GPTQ rounds: the weight, or what makes up for the errors of the layers before it too."""
    if known.second is None or known.wanted is None:
        return weight
    try:
        return target(weight, gram, known.wanted.around(share, known.second))
    except np.linalg.LinAlgError:  # GPTQ meets the same, and says so
        return weight


def _why_not(layer: QuantizableLayer, weight: Float32Array, algo: WeightAlgo) -> str | None:
    """Why GPTQ or GPTAQ does not round a layer; None where it does."""
    if layer.channel_axis is None:
        return "no axis of its weight has the output channels"
    count = int(np.prod(weight.shape[1:]))
    largest = _LARGEST_GRAM if algo is WeightAlgo.GPTQ else _LARGEST_GRAM // 2  # GPTAQ's is that of two inputs
    if count > largest:
        return f"{count:,} weights for each channel, and {algo.value.upper()} takes {largest:,} at most"
    return None
