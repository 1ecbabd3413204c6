"""What AMCT's simplified configurations, ``.cfg``, say of each layer.

A layer takes its configuration from ``override_layer_configs``, else ``override_layer_types``, else the common one;
the first of these that names it replaces the others whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from amctq.amct_files.cfg_text import CfgReader
from amctq.amct_files.config_layers import LayerReaders, Layout
from amctq.amct_files.config_pools import is_pool_type
from amctq.amct_files.layer_names import match_names
from amctq.amct_files.pool_names import is_pool_name
from amctq.errors import nearest
from amctq.quant.layers import AMCT_KINDS, LayerKind, QuantizableLayer, Topology

# MindSpore's name of each type, and PyTorch's where it is another one.
_KINDS = {kind.value: kind for kind in AMCT_KINDS} | {"Linear": LayerKind.DENSE}
# Types that AMCT's PyTorch front end quantizes, and that stay in float with AMCT's files in amctq: to skip one says
# nothing new.
_IN_FLOAT = frozenset({"Conv1d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "AvgPool2d"})
_DEFAULT_BITS = 8


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
    by_name = _overrides(document, "override_layer_configs", "layer_name", lambda name: _layer_named(name, topology))
    by_type = _overrides(document, "override_layer_types", "layer_type", _kind_named)
    for name, reader in by_name.items():
        if name not in names and not (layout.pools and is_pool_name(name, topology)):
            reader.fail("layer_name", f"{name!r} is no layer of this network", nearest(name, names))
    for kind, reader in by_type.items():
        if kind not in _KINDS and not (layout.pools and is_pool_type(kind)):
            reader.fail("layer_type", f"found {kind!r}", f"expected one of {', '.join(_KINDS)}")
    widened: dict[str, str] = {}
    for layer in topology.layers:
        override = by_name.get(layer.name) or by_type.get(layer.kind.value)
        activation, weight = layout.parts(document, override)
        enabled = layer.name not in skipped
        reason = _why_default_width(layer, weight)
        if reason is not None:
            if override is not None and layer.kind.is_dense and weight.value["num_bits"] != 4:
                weight.fail("num_bits", f"{reason}, and {layer.name} is a Dense", "AMCT has 8 and 4 for it")
            weight = weight.rewritten(weight.value | {"num_bits": _DEFAULT_BITS})
            if enabled:
                widened[layer.name] = reason
        yield LayerReaders(layer, enabled, activation, weight)
    if widened:
        listed = "; ".join(f"{name}: {reason}" for name, reason in widened.items())
        warn(f"--config: weights of 8 bits, as AMCT makes them from a .cfg, for {listed}")


def _why_default_width(layer: QuantizableLayer, weight: CfgReader) -> str | None:
    """Why AMCT gives a layer weights of 8 bits, whatever the file says; None where it follows the file."""
    bits = weight.value.get("num_bits")
    if bits == 4:
        return layer.beyond_amct_int4
    return f"{bits} bits are for convolutions" if bits in {6, 7} and layer.kind.is_dense else None


def _layer_named(name: str, topology: Topology) -> str:
    """The network's name of a layer, whichever front end of AMCT names it."""
    return match_names([name], topology).layers.get(name, name)


def _kind_named(name: str) -> str:
    """MindSpore's name of a type."""
    name = name.removeprefix("nn.")
    return _KINDS[name].value if name in _KINDS else name


def _overrides(document: CfgReader, field: str, key: str, own_name: Callable[[str], str]) -> dict[str, CfgReader]:
    found: dict[str, CfgReader] = {}
    for reader in document.messages(field):
        given = reader.take(key, str, None)
        if given is None:
            reader.fail(key, "is missing", f"an override says which {key} it is for")
        name = own_name(given)
        if name in found:
            reader.fail(key, f"duplicate override of {given!r}", "remove one of the two overrides")
        found[name] = reader
    return found


def _skipped(document: CfgReader, topology: Topology) -> set[str]:
    """The layers that a file skips by name or by type."""
    known = [layer.name for layer in topology.layers]
    others = {layer.name for layer in topology.left_in_float}
    found: set[str] = set()
    for field in ("skip_layers", "quant_skip_layers"):
        for index, given in enumerate(document.take(field, list, [])):
            name = _layer_named(given, topology)
            if name not in known and name not in others and not is_pool_name(given, topology):
                document.fail(field, f"{given!r} is no layer of this network", nearest(given, known), index)
            found.add(name)
    for field in ("skip_layer_types", "quant_skip_types"):
        for index, given in enumerate(document.take(field, list, [])):
            kind = _kind_named(given)
            if kind not in _KINDS and kind not in _IN_FLOAT and not is_pool_type(given):
                document.fail(field, f"found {given!r}", f"expected one of {', '.join(_KINDS)}", index)
            found |= {layer.name for layer in topology.layers if layer.kind.value == kind}
    return found
