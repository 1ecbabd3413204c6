"""MindIR, MindSpore's own format: exported by MindSpore, then changed so that every run writes the same bytes.

A MindIR file is a protobuf (``mindspore.train.mind_ir_pb2``). MindSpore names every tensor after counters of the
process and memory addresses, repeats the name of the graph in each of these names, and stores time and scope of the
compilation. None of this is needed to load the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amctq.data.inputs import InputSpec
from amctq.networks.mindir import export_plain

_PRIMITIVE = "REF::"  # prefix of a node's reference to its operator


def export_mindir(
    network: Any,
    inputs: Mapping[str, InputSpec],
    target: Path,
    *,
    batch: int | None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Export a network; the same network gives the same bytes in every process.

    Args:
        network: ``mindspore.nn.Cell`` in inference mode.
        inputs: what it takes, in the order of construct().
        target: the file, which ends in ``.mindir``.
        batch: see ``export_plain``.
        metadata: for the file's user_info.

    Raises:
        InputError: MindSpore cannot export the network, or would split it into several files.
        OSError: there is no room for the file.
    """
    from mindspore.train import mind_ir_pb2

    export_plain(network, inputs, target, batch=batch)
    model = mind_ir_pb2.ModelProto.FromString(target.read_bytes())
    _normalise(model, tuple(inputs))
    model.user_info.update(metadata or {})
    target.unlink()  # MindSpore left it read-only
    target.write_bytes(model.SerializeToString(deterministic=True))


def _normalise(model: Any, inputs: tuple[str, ...]) -> None:
    """Name everything by its position in the file, and remove what only describes the export.

    A model with several graphs keeps its names, because nodes refer to graphs in other ways.

    Args:
        model: ``mind_ir_pb2.ModelProto``; it is changed.
        inputs: names for its inputs.
    """
    if model.functions:
        return
    graph = model.graph
    del graph.attribute[:]  # phases, with a time and an address
    graph.name = "network"
    read = {name for node in graph.node for name in node.input}
    unread = [parameter for parameter in graph.parameter if parameter.name not in read]
    for parameter in unread:  # such as those of a folded BatchNorm
        graph.parameter.remove(parameter)
    names: dict[str, str] = {}
    for parameter in graph.parameter:
        names[parameter.name] = parameter.name = parameter.name.partition(":")[2] or parameter.name
    for value, name in zip(graph.input, inputs, strict=True):
        names[value.name] = value.name = name
    for node in graph.node:
        for index, name in enumerate(node.output):
            node.output[index] = names[name] = f"%{len(names)}"
        node.input[:] = [names[name] for name in node.input]
        node.name = node.output[0]
        node.ClearField("domain")
    for value in graph.output:
        value.name = names[value.name]
    _sort_primitives(model)


def _sort_primitives(model: Any) -> None:
    """Sort the operators by first use; MindSpore writes them in the order of a hash table."""
    operators = {primitive.name: primitive for primitive in model.primitives}
    renamed: dict[str, str] = {}
    for node in model.graph.node:
        name = node.op_type.removeprefix(_PRIMITIVE)
        if name in operators:
            renamed.setdefault(name, f"{operators[name].op_type}:{len(renamed)}")
            node.op_type = _PRIMITIVE + renamed[name]
    used = [operators[name] for name in renamed]
    for primitive in used:
        primitive.name = renamed[primitive.name]
    del model.primitives[:]
    model.primitives.extend(used)
