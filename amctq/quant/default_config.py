"""The configuration that options make, without a file."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

from amctq.choices import ActAlgo, WeightAlgo
from amctq.errors import UsageError, nearest
from amctq.quant.config import SKIPPED, ActivationConfig, LayerConfig, QuantConfig, WeightConfig
from amctq.quant.layers import Topology

Activation = TypeVar("Activation")


def default_config(
    topology: Topology, *, algo: ActAlgo = ActAlgo.IFMR, symmetric: bool = False, **options: Any
) -> QuantConfig:
    """Every layer that can be, as AMCT does it, but for what options say.

    Args:
        topology: of the network.
        algo: the observer.
        symmetric: offsets fixed at 0.
        options: of ``default_layers``.

    Raises:
        UsageError: a pattern matches nothing.
        InputError: no layer is left.
    """
    layers = default_layers(topology, ActivationConfig(algo=algo, asymmetric=not symmetric), **options)
    config = QuantConfig(activation_offset=not symmetric, layers=layers)
    config.selected(topology)
    return config


def default_layers(
    topology: Topology,
    activation: Activation,
    *,
    per_tensor: bool = False,
    dense_per_channel: bool = False,
    weight_bits: int = 8,
    widths: Sequence[tuple[str, int]] = (),
    weight_algo: WeightAlgo | Callable[[int], WeightAlgo] = WeightAlgo.ARQ,
    skip: Sequence[str] = (),
    in_float: Mapping[str, str] = MappingProxyType({}),
) -> tuple[LayerConfig[Activation], ...]:
    """Every layer that can be, as AMCT does it, but for what options say.

    Args:
        topology: of the network.
        activation: of every layer.
        per_tensor: one weight scale for the tensor, in convolutions too.
        dense_per_channel: a weight scale for each output channel in a Dense too, which AMCT does not have.
        weight_bits: width of the weights.
        widths: names or shell patterns of layers or cells, and the width of theirs; the last one that matches holds.
        weight_algo: what chooses the scales of weights, or what chooses that by their width.
        skip: names or shell patterns of layers or cells that stay in float.
        in_float: names of further layers that stay in float, and why.

    Raises:
        UsageError: a pattern matches nothing.
    """
    skipped = dict(in_float)
    for pattern in skip:
        skipped |= dict.fromkeys(matching_layers([pattern], topology), f"{SKIPPED} by --skip-layer {pattern}")
    own = {name: bits for pattern, bits in widths for name in matching_layers([pattern], topology, "--layer-bits")}
    return tuple(
        LayerConfig(
            name=layer.name,
            enabled=layer.name not in skipped,
            why_in_float=skipped.get(layer.name, SKIPPED),
            activation=activation,
            weight=WeightConfig(
                bits=(bits := own.get(layer.name, weight_bits)),
                algo=weight_algo if isinstance(weight_algo, WeightAlgo) else weight_algo(bits),
                channel_wise=not per_tensor
                and layer.channel_axis is not None
                and (dense_per_channel or not layer.kind.is_dense),
            ),
        )
        for layer in topology.layers
    )


def matching_layers(patterns: Sequence[str], topology: Topology, option: str = "--skip-layer") -> set[str]:
    """The layers that an option names or matches, and those inside the cells that it names or matches.

    Raises:
        UsageError: a pattern matches nothing.
    """
    names = [layer.name for layer in topology.layers]
    found: set[str] = set()
    for pattern in patterns:
        matched = [*fnmatch.filter(names, pattern), *fnmatch.filter(names, f"{pattern}.*")]
        if not matched:
            message = f"{option} {pattern}: matches no layer"
            raise UsageError(message, hint=nearest(pattern, names))
        found.update(matched)
    return found
