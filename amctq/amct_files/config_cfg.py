"""What AMCT's simplified configurations, ``.cfg``, say of each layer.

A layer takes its configuration from ``override_layer_configs``, else ``override_layer_types``, else the common one;
the first of these that names it replaces the others whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from amctq.amct_files.cfg_text import CfgReader
from amctq.amct_files.config_layers import LayerReaders, Layout
from amctq.amct_files.config_pools import is_pool_type
from amctq.amct_files.pool_names import is_pool_name
from amctq.errors import nearest
from amctq.quant.layers import AMCT_KINDS, LayerKind, Topology

_KINDS = tuple(kind.value for kind in AMCT_KINDS)


def cfg_layers(
    document: CfgReader, layout: Layout, topology: Topology, warn: Callable[[str], None]
) -> Iterator[LayerReaders]:
    """The layers of a file.

    Args:
        document: the file.
        layout: of its kind.
        topology: of the network.
        warn: called with each correction, in words.

    Raises:
        InputError: the file names a layer that the network lacks, or one twice. The message names line and field.
    """
    skipped = _skipped(document, topology)
    names = [layer.name for layer in topology.layers]
    by_name = _overrides(document, "override_layer_configs", "layer_name")
    by_type = _overrides(document, "override_layer_types", "layer_type")
    for name, reader in by_name.items():
        if name not in names and not (layout.pools and is_pool_name(name, topology)):
            reader.fail("layer_name", f"{name!r} is no layer of this network", nearest(name, names))
    for kind, reader in by_type.items():
        if kind not in _KINDS and not (layout.pools and is_pool_type(kind)):
            reader.fail("layer_type", f"found {kind!r}", f"expected one of {', '.join(_KINDS)}")
    corrected, line = [], 0
    for layer in topology.layers:
        override = by_name.get(layer.name) or by_type.get(layer.kind.value)
        activation, weight = layout.parts(document, override)
        enabled = layer.name not in skipped
        # AMCT copies the common configuration to every layer, skipped ones included, and then refuses the file.
        if override is None and layer.kind is LayerKind.DENSE and weight.value.get("channel_wise", False):
            line = weight.line("channel_wise")
            weight = weight.rewritten(weight.value | {"channel_wise": False})
            corrected += [layer.name] if enabled else []
        yield LayerReaders(layer, enabled, activation, weight)
    if corrected:
        warn(
            f"--config, line {line}: channel_wise is false for {', '.join(corrected)}, because a Dense has one "
            "scale for the tensor; AMCT refuses this file unless an override says so"
        )


def _overrides(document: CfgReader, field: str, key: str) -> dict[str, CfgReader]:
    found: dict[str, CfgReader] = {}
    for reader in document.messages(field):
        name = reader.take(key, str, None)
        if name is None:
            reader.fail(key, "is missing", f"an override says which {key} it is for")
        name = name.removeprefix("nn.") if key == "layer_type" else name
        if name in found:
            reader.fail(key, f"duplicate override of {name!r}", "remove one of the two overrides")
        found[name] = reader
    return found


def _skipped(document: CfgReader, topology: Topology) -> set[str]:
    """The layers that a file skips by name or by type."""
    known = [layer.name for layer in topology.layers]
    others = {layer.name for layer in topology.left_in_float}
    found: set[str] = set()
    for field in ("skip_layers", "quant_skip_layers"):
        for index, name in enumerate(document.take(field, list, [])):
            if name not in known and name not in others and not is_pool_name(name, topology):
                document.fail(field, f"{name!r} is no layer of this network", nearest(name, known), index)
            found.add(name)
    for field in ("skip_layer_types", "quant_skip_types"):
        for index, kind in enumerate(document.take(field, list, [])):
            if kind.removeprefix("nn.") not in _KINDS and not is_pool_type(kind):
                document.fail(field, f"found {kind!r}", f"expected one of {', '.join(_KINDS)}", index)
            found |= {layer.name for layer in topology.layers if layer.kind.value == kind.removeprefix("nn.")}
    return found
