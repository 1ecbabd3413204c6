"""What a runtime makes of a QDQ file that is not here: read off the file, by where its quantizers are."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from amctq.inference.between_integers import FloatOperator, Step, between_integers

_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_PAIR = frozenset({"QuantizeLinear", "DequantizeLinear"})
# They move values, or are joined to the layer before them.
_NO_COMPUTATION = frozenset(
    """
    BatchNormalization Cast Clip Concat DepthToSpace Expand Flatten Gather Identity LeakyRelu MaxPool Pad Relu Reshape
    Resize Shape Slice SpaceToDepth Split Squeeze Tile Transpose Unsqueeze Where
    """.split()
)


def float_operators(model: onnx.ModelProto, layers: Mapping[str, str]) -> tuple[FloatOperator, ...]:
    """The operators of a file whose operands are not quantized, between two whose operands are.

    Args:
        model: the QDQ file.
        layers: by name of a layer, of its node or of its output, why it is computed in float.
    """
    dequantized = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    constants = {item.name for item in model.graph.initializer}
    steps = []
    for node in model.graph.node:
        read = [name for name in node.input if name and name not in constants]
        computes = bool(read) and node.op_type not in _PAIR | _NO_COMPUTATION  # of constants alone is a constant
        integer = computes and (dequantized.issuperset(read) or (node.op_type in _WEIGHTED and read[0] in dequantized))
        steps.append(
            Step(
                inputs=frozenset(node.input),
                outputs=frozenset(node.output),
                integer=integer,
                in_float=computes and not integer,
            )
        )
    return tuple(
        FloatOperator(node=node.output[0], op=node.op_type, reason=_reason(node, layers))
        for node in (model.graph.node[place] for place in between_integers(steps))
    )


def _reason(node: onnx.NodeProto, layers: Mapping[str, str]) -> str:
    names = (node.name, *node.output)
    return next((layers[name] for name in names if name in layers), "its operands are not quantized")
