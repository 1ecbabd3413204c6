"""MindIR, MindSpore's own format: written by MindSpore, then put into one form that does not vary from run to run.

A MindIR file is a protobuf (``mindspore.train.mind_ir_pb2``). What MindSpore writes names every tensor after counters
of the process and addresses in memory, repeats the name of the graph in each of them, and notes time and scope of the
compilation. None of it is needed to load the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amctq.errors import InputError
from amctq.networks.exporting import exporting

GRAPH_NAME, INPUT_NAME = "network", "image"
_LARGEST = 1 << 30  # bytes of parameters that MindSpore puts into one file
_PRIMITIVE = "REF::"  # how a node names its operator


def export_plain(network: Any, input_shape: tuple[int, int, int], target: Path) -> None:
    """Export a network as MindSpore does it, batch dynamic.

    Args:
        network: ``mindspore.nn.Cell`` in inference mode, taking one image tensor.
        input_shape: (C, H, W) of one image.
        target: the file, which ends in ``.mindir``.

    Raises:
        InputError: MindSpore cannot export the network, or would split it into several files.
        OSError: there is no room for the file.
    """
    import mindspore

    if sum(parameter.nbytes for parameter in network.get_parameters()) > _LARGEST:
        message = "MindSpore splits this network into several MindIR files, because its parameters exceed 1 GiB"
        raise InputError(message, hint="use --export onnx")
    example = mindspore.Tensor(shape=[None, *input_shape], dtype=mindspore.float32)
    with exporting(network, target, "MindIR") as path:
        mindspore.export(network, example, file_name=path, file_format="MINDIR")


def export_mindir(
    network: Any, input_shape: tuple[int, int, int], target: Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Export a network, batch dynamic; the same network gives the same bytes in every process.

    Args:
        network: ``mindspore.nn.Cell`` in inference mode, taking one image tensor.
        input_shape: (C, H, W) of one image.
        target: the file, which ends in ``.mindir``.
        metadata: stands in the file as user_info.

    Raises:
        InputError: MindSpore cannot export the network, or would split it into several files.
        OSError: there is no room for the file.
    """
    from mindspore.train import mind_ir_pb2

    export_plain(network, input_shape, target)
    model = mind_ir_pb2.ModelProto.FromString(target.read_bytes())
    normalise(model)
    model.user_info.update(metadata or {})
    target.unlink()  # MindSpore left it read-only
    target.write_bytes(model.SerializeToString(deterministic=True))


def normalise(model: Any) -> None:
    """Rename everything by its place in the file, and drop what only says how the file came about.

    A graph that calls other graphs keeps its names: nodes refer to those in ways of their own.

    Args:
        model: ``mind_ir_pb2.ModelProto``; it is changed.
    """
    if model.functions:
        return
    graph = model.graph
    del graph.attribute[:]  # phases, which hold a time and an address
    graph.name = GRAPH_NAME
    names: dict[str, str] = {}
    for parameter in graph.parameter:
        names[parameter.name] = parameter.name = parameter.name.partition(":")[2] or parameter.name
    for index, value in enumerate(graph.input):
        names[value.name] = value.name = f"{INPUT_NAME}{index or ''}"
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
    """Put the operators, which MindSpore writes in the order of a hash table, into the order of their use."""
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
