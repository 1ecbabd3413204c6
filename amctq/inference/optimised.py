"""What onnxruntime makes of a file: the operators that are still computed in float between integer operators.

The graph is that of the optimisation level EXTENDED, which does not depend on the CPU.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx
import onnxruntime

from amctq.disk import taken_by_disk
from amctq.files import writing
from amctq.inference.between_integers import FloatOperator, Step, between_integers
from amctq.inference.onnx_session import naming_failures, session_options
from amctq.leftovers import temporary_folder

# By a part of the operator's name, why it is computed in float.
_NO_KERNEL = "onnxruntime has no integer kernel for it"
_PART = "_inlfunc_"  # of the names inside an operator that onnxruntime writes as a function of others
_FLOAT_WEIGHTS = "its weights stay in float"
_LOSES = "integers cost accuracy here, and are not faster"
_REASONS = {
    "Softmax": _LOSES,
    "Add": "its operands are floats, which a product with a matrix yields without a loss",
    "Mul": "its operands are floats, which a product with a matrix yields without a loss",
    "Concat": "its operands are floats",
    "MatMul": "a product of two activations (--quantize-attention makes it an integer)",
    "FusedMatMul": "a product of two activations (--quantize-attention makes it an integer)",
    "AveragePool": "what it reads or what reads it is a float",
    "GlobalAveragePool": "what it reads or what reads it is a float",
    "Sigmoid": "what it reads or what reads it is a float",
    "HardSigmoid": "what it reads or what reads it is a float",
    "Relu": "it reads floats",
    "Clip": "it reads floats",
}
_WEIGHTED = frozenset({"Conv", "FusedConv", "ConvTranspose", "Gemm", "FusedGemm"})
# They move values, or compute sizes and conditions.
_NO_COMPUTATION = frozenset(
    """
    And Cast Compress Concat DepthToSpace DequantizeLinear Equal Expand Flatten Gather GatherElements GatherND Greater
    Identity Less MaxPool Not Or Pad QuantizeLinear Range ReduceMax ReduceMin Reshape ScatterElements ScatterND Shape
    Size Slice SpaceToDepth Split Squeeze Tile Transpose Trilu Unsqueeze Where
    """.split()
)


def optimised_graph(content: bytes) -> onnx.GraphProto:
    """The graph that onnxruntime makes of a file, whatever the CPU.

    Raises:
        CheckError: onnxruntime does not load the file.
        WriteError: the temporary folder has no room for it.
    """
    options = session_options(())
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    with temporary_folder() as folder:
        path = folder / "optimised.onnx"
        options.optimized_model_filepath = str(path)
        with writing(path), taken_by_disk(path, len(content)), naming_failures("onnxruntime does not load the graph"):
            onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        return onnx.load(path).graph


def float_operators(content: bytes, layers: Mapping[str, str]) -> tuple[FloatOperator, ...]:
    """The operators of a file that onnxruntime computes in float, between two that it computes in integers.

    Args:
        content: of the ONNX file.
        layers: by name of a layer, of its node or of its output, why it is computed in float.
    """
    nodes = optimised_graph(content).node
    integers: set[str] = set()  # tensors of integers
    steps = []
    for node in nodes:
        if _yields_integers(node, integers):
            integers.update(node.output)
        integer = is_integer(node)
        moves = node.op_type in _NO_COMPUTATION or integers.issuperset(node.output)
        steps.append(
            Step(
                inputs=frozenset(node.input),
                outputs=frozenset(node.output),
                integer=integer,
                in_float=not (integer or moves),
            )
        )
    readers = {name: node for node in nodes for name in node.input}
    return tuple(
        FloatOperator(node=_name(node, readers), op=node.op_type, reason=_reason(node, layers))
        for node in (nodes[place] for place in between_integers(steps))
    )


def is_integer(node: onnx.NodeProto) -> bool:
    """Whether a node of an optimised graph multiplies or adds integers."""
    return node.op_type.startswith("QLinear") or node.op_type in {"QGemm", "MatMulIntegerToFloat", "MatMulInteger"}


def _yields_integers(node: onnx.NodeProto, integers: set[str]) -> bool:
    if node.op_type == "QGemm":  # yields floats where it has no output scale
        return len(node.input) > 8
    if node.op_type == "DequantizeLinear" or not node.input:
        return False
    return node.op_type == "QuantizeLinear" or node.op_type.startswith("QLinear") or node.input[0] in integers


def _name(node: onnx.NodeProto, readers: Mapping[str, onnx.NodeProto]) -> str:
    """The tensor that a node yields. onnxruntime keeps its name where it joins several nodes to one.

    Where it divides one into several, only the last has it.
    """
    while node.output[0].startswith(_PART) and node.output[0] in readers:
        node = readers[node.output[0]]
    return str(node.output[0])


def _reason(node: onnx.NodeProto, layers: Mapping[str, str]) -> str:
    if node.op_type in _WEIGHTED:
        names = {node.name, node.output[0]}
        return next((reason for name, reason in layers.items() if name in names), _FLOAT_WEIGHTS)
    return _REASONS.get(node.op_type, _NO_KERNEL)
