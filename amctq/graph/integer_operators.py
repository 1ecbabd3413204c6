"""Which operators onnxruntime can compute on 8-bit integers, and how: read off its optimised graphs.

The integers of a tensor are q = round(x / scale) + zero point. A *move* yields some of the integers that it reads; a
*clip* can be done by the quantizer after it; what *computes* has integer kernels whose output has a scale of its own.
All other operators are computed in float.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from amctq.graph.float_graph import FloatGraph, attributes_of

# The output has the scale and zero point of the first input; other inputs say where to.
_MOVES = frozenset(
    """
    DepthToSpace Expand Flatten Gather GatherElements Identity MaxPool Pad ReduceMax ReduceMin Reshape Resize Slice
    SpaceToDepth Split Squeeze Tile Transpose Unsqueeze
    """.split()
)
# They keep every value, and are faster on integers than on floats.
REARRANGEMENTS = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
# On integers they are faster than on floats only between convolutions, whose integers have the channels last.
AMONG_CONVOLUTIONS = frozenset({"MaxPool", "Pad", "Resize", "ReduceMax", "ReduceMin"})
_CLIPS = frozenset({"Relu", "Clip"})
_OF_ONE = frozenset({"AveragePool", "GlobalAveragePool", "HardSigmoid", "HardSwish", "LeakyRelu", "Sigmoid"})
_OF_TWO = frozenset({"Add", "Mul"})
_WITH_CONSTANT = frozenset({"Sub", "Div"})
# From how many input channels a group on onnxruntime's integer convolution keeps up with the float one.
_CHANNELS_OF_A_GROUP = 9


def is_move(node: onnx.NodeProto, graph: FloatGraph) -> bool:
    """Whether a node only moves values of its first input, or chooses among them.

    A Pad may add zeros, which any scale represents exactly, but no other value.
    """
    if node.op_type not in _MOVES or not set(graph.outputs).isdisjoint(node.output) or node.input[0] in graph.arrays:
        return False
    if any(is_number(name, graph) for name in (node.input[0], *node.output)):
        return False
    if node.op_type == "Pad" and len(node.input) > 2 and node.input[2]:
        value = graph.arrays.get(node.input[2])
        return value is not None and not bool(np.any(value))
    if node.op_type == "Resize":
        return bool(attributes_of(node).get("mode", b"nearest") == b"nearest")
    return node.op_type == "Split" or len(node.output) == 1


def is_clip(node: onnx.NodeProto, graph: FloatGraph) -> bool:
    """Whether a node cuts values off at constant limits."""
    return node.op_type in _CLIPS and all(name in graph.arrays for name in node.input[1:] if name)


def operands(node: onnx.NodeProto, graph: FloatGraph) -> tuple[str, ...] | None:
    """The activations that a node reads, where integer kernels can compute it; None where not."""
    activations = tuple(name for name in node.input if name and name not in graph.arrays)
    if any(is_number(name, graph) for name in activations):
        return None
    constants = [graph.arrays[name] for name in node.input if name in graph.arrays]
    if node.op_type in _OF_ONE or (node.op_type == "Concat" and not constants):
        return activations
    if node.op_type == "BatchNormalization" and len(activations) == 1 and channels_of(activations[0], graph):
        return activations
    if node.op_type in _OF_TWO and all(_is_by_channel(array) for array in constants):
        return activations
    if node.op_type in _WITH_CONSTANT and node.input[1] in graph.arrays and _is_by_channel(constants[0]):
        divides_by_zero = node.op_type == "Div" and not np.all(constants[0])
        return None if divides_by_zero else activations
    return None


def is_number(tensor: str, graph: FloatGraph) -> bool:
    """Whether a tensor has rank 0. In integers it would gain nothing, and it may be the size of the batch."""
    return graph.shapes.get(tensor) == ()


def why_convolution_in_float(node: onnx.NodeProto, weight: NDArray[Any]) -> str | None:
    """Why a convolution with integer weights is computed in float all the same; None where it is not.

    Args:
        node: a Conv or ConvTranspose.
        weight: as the graph holds it.
    """
    if node.op_type == "ConvTranspose":
        return (
            "float at run time: onnxruntime has no integer kernel for transposed convolutions; its weights are integers"
        )
    group, channels = attributes_of(node).get("group", 1), weight.shape[1]
    if node.op_type == "Conv" and group > 1 and 1 < channels < _CHANNELS_OF_A_GROUP:
        return (
            f"float at run time: onnxruntime's integer kernel is slower with {channels} channels a group; "
            "its weights are integers"
        )
    return None


def channels_of(tensor: str, graph: FloatGraph) -> int | None:
    """C of a tensor (N, C, L), (N, C, H, W) or (N, C, D, H, W); None for others, or where unknown."""
    shape = graph.shapes.get(tensor, ())
    return shape[1] if 3 <= len(shape) <= 5 else None


def is_convolution(node: onnx.NodeProto) -> bool:
    """Whether every output of an AveragePool is the mean of as many values, so that a convolution gives the same."""
    attributes = attributes_of(node)
    if attributes.get("ceil_mode", 0) or attributes.get("auto_pad", b"NOTSET") not in {b"NOTSET", b"VALID"}:
        return False
    return not any(attributes.get("pads", ())) or bool(attributes.get("count_include_pad", 0))


def _is_by_channel(constant: NDArray[Any]) -> bool:
    """A number, or a finite one for each channel of (N, C, H, W): what the integer kernels read beside a tensor."""
    by_channel = constant.ndim >= 3 and constant.size == constant.shape[-3]
    return constant.dtype == np.float32 and (constant.size == 1 or by_channel) and bool(np.isfinite(constant).all())
