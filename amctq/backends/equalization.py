"""Equalization of a network: which pairs of layers, what they read, and what becomes of their parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.backends.ptq_config import PtqConfig
from amctq.graph.float_graph import FloatGraph
from amctq.graph.scalable_pairs import scalable_pairs
from amctq.graph.topology import fuse
from amctq.progress import Reporter
from amctq.quant.channel_statistics import ChannelWatcher
from amctq.quant.equalization import EqualizedPair, Equalizer, LayerQuantizer
from amctq.quant.folding import FusedParameters
from amctq.quant.layers import QuantizableLayer, Topology
from amctq.quant.numerics import Float32Array
from amctq.quant.rounding.scale import power_scale
from amctq.quant.weights import quantize_weight


@dataclass(frozen=True, kw_only=True, eq=False)
class Equalization:
    """The float parameters that are quantized.

    Attributes:
        fused: by layer, its parameters with BatchNorm folded in.
        pairs: the pairs of layers that were equalized.
    """

    fused: Mapping[str, FusedParameters]
    pairs: tuple[EqualizedPair, ...] = ()


def equalize(
    graph: FloatGraph, topology: Topology, config: PtqConfig, show: Callable[..., Any], reporter: Reporter
) -> Equalization:
    """Fold BatchNorm and, where ``config`` asks for it, equalize the layers.

    Args:
        graph: the float network.
        topology: the layers that are quantized.
        config: how the network is quantized.
        show: ``observe_activations`` of this network, which gets the parameters, ``watches`` and ``inputs``.
        reporter: gets what was found.

    Raises:
        InputError: a parameter is not finite.
    """
    fused = fuse(graph, topology)
    pairs = scalable_pairs(graph, topology) if config.equalize else ()
    if not pairs:
        if config.equalize:
            reporter.warn("--equalize: no two layers have only ReLU, ReLU6 or the like between them; nothing to do")
        return Equalization(fused=fused)
    layers = {layer.name: layer for layer in topology.layers}
    names = dict.fromkeys(name for pair in pairs for name in (pair.first, pair.second))
    places = {layers[name].input: layers[name] for name in names}
    places |= {pair.between: layers[pair.first] for pair in pairs if pair.between not in places}
    watchers = {tensor: ChannelWatcher(-1 if layer.kind.is_dense else 1) for tensor, layer in places.items()}
    show(fused, watches=(), inputs={tensor: (watcher,) for tensor, watcher in watchers.items()})
    seen = {tensor: watcher.finish() for tensor, watcher in watchers.items()}
    # A tensor that is not finite is told by the calibration.
    pairs = tuple(
        pair
        for pair in pairs
        if all(seen[tensor].finite for tensor in (layers[pair.first].input, layers[pair.second].input, pair.between))
    )
    enabled = config.quant.enabled
    equalizer = Equalizer(
        pairs,
        fused=fused,
        inputs={name: seen[layers[name].input] for name in names},
        between={pair.first: seen[pair.between] for pair in pairs},
        quantizers={
            name: LayerQuantizer(
                round=partial(_round, config, layers[name]),
                channel_wise=enabled[name].weight.channel_wise,
                symmetric=not enabled[name].activation.asymmetric,
            )
            for name in names
        },
    )
    with reporter.phase("equalization"):
        found = equalizer.run()
    for item in found:
        reporter.info(
            f"{item.pair.first} and {item.pair.second} are equalized: their predicted error falls to "
            f"{100 * item.error:.3g} %"
        )
    reporter.info(f"{len(found)} of {len(pairs)} pairs of layers are equalized")
    changed = {name: equalizer.parameters(name) for name in names}
    return Equalization(fused={**fused, **changed}, pairs=found)


def _round(
    config: PtqConfig, layer: QuantizableLayer, weight: Float32Array, power: NDArray[np.float64]
) -> Float32Array:
    """What a weight becomes where each of its elements is rounded alone."""
    how = config.quant.enabled[layer.name].weight
    if how.algo.by_inputs:
        scale = power_scale(weight, power, channel_wise=how.channel_wise, bits=how.bits, smallest=config.smallest_scale)
    else:
        scale = config.weight_scale(layer, how, weight)
    return quantize_weight(weight, scale, bits=how.bits).dequantized()
