"""The networks of which AMCT itself wrote configurations, by its PyTorch front end's names of layers."""

from __future__ import annotations

import json
from pathlib import Path

from amctq.quant.layers import BatchNorm, LayerKind, QuantizableLayer, Topology

_HEADS = frozenset({"linear", "fc"})


def topology_of(file: Path) -> Topology:
    """The layers that a configuration of AMCT's names; each convolution is followed by a BatchNorm."""
    document = json.loads(file.read_text())
    return Topology(
        layers=tuple(_layer(name) for name, entry in document.items() if isinstance(entry, dict)), left_in_float=()
    )


def _layer(name: str) -> QuantizableLayer:
    dense = name in _HEADS
    return QuantizableLayer(
        name=name,
        kind=LayerKind.DENSE if dense else LayerKind.CONV,
        node=name,
        input="",
        raw_output="",
        output="",
        weight=f"{name}.weight",
        bias=None,
        batch_norm=None if dense else BatchNorm(gamma="", beta="", mean="", variance="", epsilon=1e-5),
        batch_norm_node=None if dense else f"{name}.bn",
        beyond_amct_int4="its 3 input channels are an odd number" if name == "conv1" else None,
    )
