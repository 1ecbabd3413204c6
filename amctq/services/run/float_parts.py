"""The layers that ``--skip-after`` and ``--float-head`` leave in float, and those that decode predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from amctq.networks.float_network import FloatNetwork
    from amctq.quant.config import NetworkConfig
    from amctq.quant.layers import Topology


def layers_in_float(network: FloatNetwork, *, head: bool, after: Sequence[str]) -> dict[str, str]:
    """By layer that stays in float, why; what ``--skip-layer`` names is not here.

    Args:
        network: the float network.
        head: the last layers, as ``--float-head`` says.
        after: names of ``--skip-after``.

    Raises:
        UsageError: ``--skip-after`` names nothing, or what no layer is behind.
    """
    from amctq.graph.float_parts import last_layers, layers_after
    from amctq.quant.config import SKIPPED

    graph, topology = network.graph, network.topology
    last = last_layers(graph, topology)
    reasons = dict.fromkeys(last.tables, "it decodes what other layers predict: its weights are 0, 1, 2, …")
    if head:
        reasons |= dict.fromkeys((*last.predictions, *last.tables), f"{SKIPPED} by --float-head")
    for name in after:
        reasons |= dict.fromkeys(layers_after(graph, topology, name), f"{SKIPPED} by --skip-after {name}")
    return reasons


def why_skipped(topology: Topology, quantized: Container[str], config: NetworkConfig[Any] | None) -> dict[str, str]:
    """By layer or embedding table that could be quantized and is not, why.

    Args:
        topology: of the network.
        quantized: names of those that are.
        config: of the run; None where a record says which layers are quantized.
    """
    from amctq.quant.config import SKIPPED

    known = {} if config is None else config.why_in_float
    names = [*(layer.name for layer in topology.layers), *(table.name for table in topology.tables)]
    return {name: known.get(name, SKIPPED) for name in names if name not in quantized}
