"""Names of the operators in a MindIR file, as MindSpore Lite keeps them."""

from __future__ import annotations

from collections.abc import Collection

_PASS_ON = frozenset({"Load", "Transpose", "Reshape", "Cast", "Depend"})
_ORDER = frozenset({"UpdateState", "MakeTuple"})  # they say only what comes first


def operators_reading(content: bytes, weights: Collection[str]) -> tuple[str, ...]:
    """Full names of the operators that read some parameters, in their order: ``Default/conv1-Conv2d/Conv2D-op0``.

    Args:
        content: of the MindIR file.
        weights: names of the parameters in the network.
    """
    from mindspore.train import mind_ir_pb2

    model = mind_ir_pb2.ModelProto()
    model.ParseFromString(content)
    kinds = {item.name: item.op_type for item in model.primitives}
    read = {item.name for item in model.graph.parameter if (item.name.partition(":")[2] or item.name) in weights}
    found = []
    for node in model.graph.node:
        if not read.isdisjoint(node.input):
            kind = kinds.get(node.op_type.removeprefix("REF::"), node.op_type)
            if kind in _PASS_ON:
                read.update(node.output)
            elif kind not in _ORDER:
                found.append(node.domain)
    return tuple(found)
