"""What AMCT's configurations say of means over windows: PyTorch's front end quantizes the input of nn.AvgPool2d.

MindSpore's does not. So a mean that a file does not name stays as the placement has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from amctq.amct_files.cfg_text import CfgReader
from amctq.amct_files.config_layers import Layout
from amctq.amct_files.layer_names import match_names
from amctq.amct_files.pool_names import POOL_TYPES, is_pool_name, match_pools, why_unknown
from amctq.json_file import JsonReader
from amctq.quant.layers import Topology


class PoolReaders(NamedTuple):
    """What a file says of one mean over windows."""

    name: str
    enabled: bool
    activation: JsonReader


def pool_readers(
    document: JsonReader, layout: Layout, topology: Topology, warn: Callable[[str], None]
) -> tuple[PoolReaders, ...]:
    """The means over windows of a file, with the network's names.

    Args:
        document: the file.
        layout: of its kind.
        topology: of the network.
        warn: called with those that the file quantizes and the network lacks, in words.

    Raises:
        InputError: a value is none that AMCT takes. The message names the key, or line and field.
    """
    if isinstance(document, CfgReader):
        return tuple(_cfg_pools(document, layout, topology, warn))
    return tuple(_json_pools(document, layout, topology, warn))


def _json_pools(
    document: JsonReader, layout: Layout, topology: Topology, warn: Callable[[str], None]
) -> Iterator[PoolReaders]:
    others = match_names(document.others(layout.keys), topology).unknown
    names = [name for name in others if is_pool_name(name, topology)]
    matched, lost = match_pools(names, topology), []
    for name in names:
        reader = document.inside(name, (layout.switch, *layout.lacking, layout.activation, layout.weight))
        enabled = reader.take(layout.switch, bool, True)
        activation = reader.inside(layout.activation, layout.activation_keys)
        _refuse_channels(reader.inside(layout.weight, layout.weight_keys))
        if name in matched.layers:
            yield PoolReaders(matched.layers[name], enabled, activation)
        elif enabled:
            lost.append(name)
    _warn_of(lost, topology, warn)


def _cfg_pools(
    document: CfgReader, layout: Layout, topology: Topology, warn: Callable[[str], None]
) -> Iterator[PoolReaders]:
    overrides = {reader.value.get("layer_name", ""): reader for reader in document.messages("override_layer_configs")}
    skipped = set(document.take("skip_layers", list, []))
    matched = match_pools([name for name in (*overrides, *skipped) if is_pool_name(name, topology)], topology)
    by_name = {own: overrides[name] for name, own in matched.layers.items() if name in overrides}
    off = {own for name, own in matched.layers.items() if name in skipped}
    by_type = next(
        (
            reader
            for reader in document.messages("override_layer_types")
            if is_pool_type(reader.value.get("layer_type", ""))
        ),
        None,
    )
    all_off = any(map(is_pool_type, document.take("skip_layer_types", list, [])))
    for pool in topology.pools:
        override, enabled = by_name.get(pool.name, by_type), not (all_off or pool.name in off)
        if override is not None or not enabled:
            activation, weight = layout.parts(document, override)
            _refuse_channels(weight if override is not None else weight.rewritten({}))
            yield PoolReaders(pool.name, enabled, activation)
    _warn_of([name for name in matched.unknown if name in overrides and name not in skipped], topology, warn)


def is_pool_type(kind: str) -> bool:
    """Whether a type in a ``.cfg`` is that of a mean over windows."""
    return kind.removeprefix("nn.") in POOL_TYPES


def _refuse_channels(weight: JsonReader) -> None:
    if weight.take("channel_wise", bool, False):
        weight.fail("channel_wise", "true for an average pool, which has no channels of weights", "set it to false")


def _warn_of(names: list[str], topology: Topology, warn: Callable[[str], None]) -> None:
    if names:
        warn(f"--config: {', '.join(names)} stays in float: {why_unknown(topology)}")
