"""The configuration that options make, without a file."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

from amctq.choices import ActAlgo, WeightAlgo
from amctq.errors import UsageError, nearest
from amctq.quant.config import SKIPPED, ActivationConfig, LayerConfig, QuantConfig, TableConfig, WeightConfig
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
    skipped = _skipped(topology, options.get("skip", ()), options.get("in_float", {}))
    rows = WeightConfig(channel_wise=not options.get("per_tensor", False))
    tables = tuple(
        TableConfig(
            name=table.name,
            enabled=table.name not in skipped,
            weight=rows,
            why_in_float=skipped.get(table.name, SKIPPED),
        )
        for table in topology.tables
    )
    config = QuantConfig(activation_offset=not symmetric, layers=layers, tables=tables)
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
            Embedding tables always have 8 bits.
        weight_algo: what chooses the scales of weights, or what chooses that by their width.
        skip: names or shell patterns of layers or cells that stay in float.
        in_float: names of further layers that stay in float, and why.

    Raises:
        UsageError: a pattern matches nothing.
    """
    skipped = _skipped(topology, skip, in_float)
    own = {name: bits for pattern, bits in widths for name in _layers_with_width(pattern, bits, topology)}
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


def _skipped(topology: Topology, skip: Sequence[str], in_float: Mapping[str, str]) -> dict[str, str]:
    """By layer or embedding table that stays in float, why."""
    found = dict(in_float)
    for pattern in skip:
        found |= dict.fromkeys(matching_layers([pattern], topology), f"{SKIPPED} by --skip-layer {pattern}")
    return found


def _layers_with_width(pattern: str, bits: int, topology: Topology) -> set[str]:
    """The layers that a pattern of ``--layer-bits`` matches.

    Raises:
        UsageError: it matches nothing, or only embedding tables, and these have 8 bits.
    """
    option = "--layer-bits"
    found = matching_layers([pattern], topology, option)
    if bits != 8 and found <= {table.name for table in topology.tables}:
        message = f"{option} {pattern}={bits}: {', '.join(sorted(found))} is an embedding table, which has 8 bits"
        raise UsageError(message, hint="leave it out, or keep the table in float with --skip-layer")
    return found


def matching_layers(patterns: Sequence[str], topology: Topology, option: str = "--skip-layer") -> set[str]:
    """The layers and embedding tables that an option names or matches, and those inside the cells that it matches.

    Raises:
        UsageError: a pattern matches nothing.
    """
    names = [*(layer.name for layer in topology.layers), *(table.name for table in topology.tables)]
    found: set[str] = set()
    for pattern in patterns:
        matched = [*fnmatch.filter(names, pattern), *fnmatch.filter(names, f"{pattern}.*")]
        if not matched:
            message = f"{option} {pattern}: matches no layer"
            raise UsageError(message, hint=nearest(pattern, names))
        found.update(matched)
    return found
