"""A record in the network's own names, whichever front end of AMCT has written it.

An entry that means no layer and whose only scale_w is 1 is that of a mean over windows (PyTorch's nn.AvgPool2d).
"""

from __future__ import annotations

from dataclasses import replace

from amctq.amct_files.layer_names import MatchedNames, match_names
from amctq.amct_files.pool_names import match_pools
from amctq.errors import InputError, nearest
from amctq.quant.layers import Topology
from amctq.quant.record import LayerRecord, PoolRecord, QuantRecord

_SHOWN = 8


def record_of(record: QuantRecord, topology: Topology) -> tuple[QuantRecord, MatchedNames]:
    """The record with the network's names, in the order of execution, and what the file's names mean.

    Those that mean nothing are means over windows that the network lacks, and not in the record.

    Raises:
        InputError: a name means no layer of the network, or two mean one; the message lists them.
    """
    matched = match_names((entry.name for entry in record.layers), topology)
    entries = {entry.name: entry for entry in record.layers}
    means = match_pools((name for name in matched.unknown if _is_pool(entries[name])), topology)
    layers = replace(
        matched, unknown=tuple(name for name in matched.unknown if name not in {*means.layers, *means.unknown})
    )
    if layers.unknown:
        raise InputError(_complaint(layers, topology), hint=_hint(layers, topology))
    order = {layer.name: index for index, layer in enumerate(topology.layers)}
    named = [replace(entries[name], name=own) for name, own in layers.layers.items()]
    if not named:
        message = "the record has no layer of this network"
        raise InputError(message, hint=f"expected some of {', '.join(list(order)[:_SHOWN])} …")
    pools = [PoolRecord(name=own, activation=entries[name].activation) for name, own in means.layers.items()]
    whole = QuantRecord(layers=tuple(sorted(named, key=lambda entry: order[entry.name])), pools=tuple(pools))
    return whole, MatchedNames(layers=layers.layers | means.layers, unknown=means.unknown)


def _is_pool(entry: LayerRecord) -> bool:
    return bool(entry.weight_scale.tolist() == [1.0])


def _complaint(matched: MatchedNames, topology: Topology) -> str:
    reasons = {layer.name: f" ({layer.reason})" for layer in topology.left_in_float}
    shown = [f"{name}{reasons.get(name, '')}" for name in matched.unknown[:_SHOWN]]
    more = f" and {len(matched.unknown) - _SHOWN} more" if len(matched.unknown) > _SHOWN else ""
    if len(shown) == 1:
        return f"the record's layer {shown[0]} is not in this network"
    return f"the record's layers {', '.join(shown)}{more} are not in this network, or mean one layer twice"


def _hint(matched: MatchedNames, topology: Topology) -> str:
    names = [layer.name for layer in topology.layers]
    if len(matched.unknown) == 1:
        return nearest(matched.unknown[0], names)
    return f"take them out of the record, or give them the names of this network: {', '.join(names[:_SHOWN])} …"
