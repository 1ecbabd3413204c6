"""What OpenVINO makes of a file: the operators that are still computed in float between integer operators.

Its compiled model says of each node what it does and with which kernel (ov::ExecutionInfo: ``layerType``,
``primitiveType`` with the precision at its end, ``originalLayersNames`` of what was joined to it).
"""

from __future__ import annotations

from collections.abc import Mapping
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


def float_operators(session: OpenVinoSession, layers: Mapping[str, str]) -> tuple[FloatOperator, ...]:
    """The operators of a file that OpenVINO computes in float, between two that it computes in integers.

    Args:
        session: runs the file.
        layers: by name of a layer, of its node or of its output, why it is computed in float.
    """
    nodes = [_described(node) for node in session.compiled.get_runtime_model().get_ordered_ops()]
    steps = [
        Step(
            inputs=frozenset(node["reads"]),
            outputs=frozenset({node["name"]}),
            integer=node["layerType"] in _WEIGHTED and _in_integers(node),
            in_float=node["layerType"] not in _NO_COMPUTATION and not _in_integers(node),
        )
        for node in nodes
    ]
    return tuple(_operator(nodes[place], layers) for place in between_integers(steps))


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


def _operator(node: Mapping[str, Any], layers: Mapping[str, str]) -> FloatOperator:
    joined = [name for name in str(node["originalLayersNames"]).split(",") if name] or [str(node["name"])]
    reason = next((layers[name] for name in joined if name in layers), "OpenVINO computes it in float")
    return FloatOperator(node=joined[-1], op=str(node["layerType"]), reason=reason)
