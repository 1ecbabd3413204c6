"""Which mean over windows a file of AMCT means by a name that no layer has."""

from __future__ import annotations

from collections.abc import Iterable

from amctq.amct_files.layer_names import MatchedNames, spelling
from amctq.quant.layers import Topology

# What AMCT's front ends call it in layer_type and skip_layer_types.
POOL_TYPES = ("AvgPool2d", "AvgPool", "AveragePool")


def is_pool_name(name: str, topology: Topology) -> bool:
    """Whether a configuration, which says nothing of a layer's type, means a mean over windows by a name."""
    return "pool" in name.lower() or any(pool.name == name for pool in topology.pools)


def match_pools(names: Iterable[str], topology: Topology) -> MatchedNames:
    """Find what each name means: the cell, another front end's word for it, or the only one that is left."""
    given = list(dict.fromkeys(names))
    spelled: dict[str, list[str]] = {}
    for pool in topology.pools:
        spelled.setdefault(_plain(pool.name), []).append(pool.name)
    own = {pool.name for pool in topology.pools}
    found: dict[str, str] = {}
    for name in given:
        alike = [name] if name in own else spelled.get(_plain(name), [])
        if len(alike) == 1 and alike[0] not in found.values():
            found[name] = alike[0]
    unknown = [name for name in given if name not in found]
    rest = [pool.name for pool in topology.pools if pool.name not in found.values()]
    if len(unknown) == len(rest) == 1:
        found[unknown.pop()] = rest[0]
    return MatchedNames(layers=found, unknown=tuple(unknown))


def why_unknown(topology: Topology) -> str:
    """Why a mean over windows that a file quantizes stays in float."""
    return topology.no_pools or "no average pool of this network is known to be meant by that name"


def _plain(name: str) -> str:
    return spelling(name).replace("_", "").lower()
