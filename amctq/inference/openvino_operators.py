"""What OpenVINO makes of a file: the operators that are still computed in float between integer operators.

Its compiled model says of each node what it does and with which kernel (ov::ExecutionInfo: ``layerType``,
``primitiveType`` with the precision at its end, ``originalLayersNames`` of what was joined to it).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from amctq.inference.between_integers import FloatOperator, Step, between_integers
from amctq.inference.openvino_session import OpenVinoSession

_WEIGHTED = frozenset({"Convolution", "Deconvolution", "FullyConnected", "MatMul"})
# They move or convert values, or quantize them.
_NO_COMPUTATION = frozenset(
    """
    Broadcast Concatenation Const Convert DepthToSpace FakeQuantize Gather Input Interpolate MemoryInput Output Pad
    Reorder Reshape Roll ScatterUpdate Select ShapeOf SpaceToDepth Split StridedSlice Subgraph Tile Transpose
    """.split()
)


def float_operators(
    session: OpenVinoSession, layers: Mapping[str, str], operators: Mapping[str, str], quantized: Collection[str] = ()
) -> tuple[FloatOperator, ...]:
    """The operators of a file that OpenVINO computes in float, between two that it computes in integers.

    Args:
        session: runs the file.
        layers: by name of a layer, of its node or of its output, why it is computed in float.
        operators: by name of a node of the network, of what it yields, or of a layer, its type.
        quantized: names of quantized layers; they are told wherever they are.
    """
    nodes = [_described(node) for node in session.compiled.get_runtime_model().get_ordered_ops()]
    steps = [
        Step(
            inputs=frozenset(node["reads"]),
            outputs=frozenset({node["name"]}),
            integer=node["layerType"] in _WEIGHTED and _in_integers(node),
            in_float=not _in_integers(node) and node["layerType"] not in _NO_COMPUTATION and _computes(node, operators),
        )
        for node in nodes
    ]
    between = set(between_integers(steps))
    for place, (node, step) in enumerate(zip(nodes, steps, strict=True)):
        if step.in_float and node["layerType"] in _WEIGHTED and any(name in quantized for name in _joined(node)):
            between.add(place)
    return tuple(_operator(nodes[place], layers, operators) for place in sorted(between))


def _described(node: Any) -> dict[str, Any]:
    info = {name: value.astype(str) for name, value in node.get_rt_info().items() if hasattr(value, "astype")}
    reads = [port.get_source_output().get_node().get_friendly_name() for port in node.inputs()]
    return (
        {"layerType": "", "primitiveType": "", "originalLayersNames": ""}
        | info
        | {
            "name": node.get_friendly_name(),
            "reads": reads,
        }
    )


def _in_integers(node: Mapping[str, Any]) -> bool:
    return str(node["primitiveType"]).rpartition("_")[2].lower() in {"i8", "u8"}


def _computes(node: Mapping[str, Any], operators: Mapping[str, str]) -> bool:
    """Whether a node is an operator of the network, and not the arithmetic of a quantizer alone."""
    joined = _joined(node)
    return any(name in operators for name in joined) or not any(name.endswith((".q", ".dq")) for name in joined)


def _joined(node: Mapping[str, Any]) -> dict[str, None]:
    """The names that a node of the compiled model had before, those of quantizers among them, in their order."""
    names = f"{node['name']},{node['originalLayersNames']}".split(",")
    return dict.fromkeys(name.removesuffix("/WithoutBiases") for name in names if name)


def _operator(node: Mapping[str, Any], layers: Mapping[str, str], operators: Mapping[str, str]) -> FloatOperator:
    joined = list(_joined(node))
    reason = next((layers[name] for name in joined if name in layers), "OpenVINO computes it in float")
    known = next((name for name in reversed(joined) if name in operators), None)
    if known is None:
        return FloatOperator(node=joined[-1], op=str(node["layerType"]), reason=reason)
    return FloatOperator(node=known, op=operators[known], reason=reason)
