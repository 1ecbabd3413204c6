"""A record in the network's own names, whichever front end of AMCT has written it."""

from __future__ import annotations

from dataclasses import replace

from amctq.amct_files.layer_names import MatchedNames, match_names
from amctq.errors import InputError, nearest
from amctq.quant.layers import Topology
from amctq.quant.record import QuantRecord

_SHOWN = 8


def record_of(record: QuantRecord, topology: Topology) -> tuple[QuantRecord, MatchedNames]:
    """The record with the network's names, in the order of execution, and what the file's names mean.

    Raises:
        InputError: a name means no layer of the network, or two mean one; the message lists them.
    """
    matched = match_names((entry.name for entry in record.layers), topology)
    if matched.unknown:
        raise InputError(_complaint(matched, topology), hint=_hint(matched, topology))
    order = {layer.name: index for index, layer in enumerate(topology.layers)}
    named = [replace(entry, name=matched.layers[entry.name]) for entry in record.layers]
    return QuantRecord(layers=tuple(sorted(named, key=lambda entry: order[entry.name]))), matched


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
