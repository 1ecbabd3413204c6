"""Names for the nodes and weights of a foreign graph, by which reports and options call layers."""

from __future__ import annotations

import re

import onnx

from amctq.graph.topology import PRODUCTS

# What exporters call a weight that they have computed: no name of the network.
_NUMBERED = re.compile(r"(onnx::\w+_|val_|tensor_|_v_|)\d+")


def name_nodes(graph: onnx.GraphProto) -> None:
    """Give every node a name of its own."""
    taken: set[str] = set()
    for node in graph.node:
        own = name = node.name or next(filter(None, node.output), node.op_type)
        number = 1
        while name in taken:
            number += 1
            name = f"{own}:{number}"
        taken.add(name)
        node.name = name


def name_weights(graph: onnx.GraphProto) -> None:
    """Name a numbered weight after the node that reads it: ``layer1.0.conv1`` in ``/layer1/layer1.0/conv1/Conv``.

    Layers have the names of their weights.
    """
    held = {item.name: item for item in graph.initializer}
    new: dict[str, str] = {}
    for node in graph.node:
        for name in node.input[:2]:
            if node.op_type not in PRODUCTS or name not in held or name in new or not _NUMBERED.fullmatch(name):
                continue
            cell = _cell(node.name)
            wanted = f"{cell}.weight" if cell else ""
            if cell and wanted not in held and wanted not in new.values():
                new[name] = wanted
    for name, wanted in new.items():
        held[name].name = wanted
    for node in graph.node:
        node.input[:] = [new.get(name, name) for name in node.input]


def _cell(node: str) -> str:
    """The path of the module that a node is in, as PyTorch's exporter writes it; empty where it is in none."""
    steps = [step for step in node.split("/")[:-1] if step]
    return ".".join(
        step
        for index, step in enumerate(steps)
        if not any(other.startswith(f"{step}.") for other in steps[index + 1 :])
    )
