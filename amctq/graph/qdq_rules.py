"""How a runtime wants a QDQ graph: what it computes in integers, and how that has to be written."""

from __future__ import annotations

from dataclasses import dataclass

# Besides layers, what integer kernels compute in OpenVINO and TensorRT: sums of two branches, means, and Concat.
_AMONG_LAYERS = frozenset({"Add", "AveragePool", "Concat", "GlobalAveragePool"})


@dataclass(frozen=True, kw_only=True)
class QdqRules:
    """How a runtime wants a QDQ graph.

    Attributes:
        integer_outputs: a convolution is computed in integers only where its output is quantized too, and not every
            convolution has an integer kernel: onnxruntime. Otherwise a layer may yield floats, and its output is
            quantized only where something in integers reads it.
        computes: types of operators that are computed in integers besides the layers; None for all that onnxruntime
            has integer kernels for.
        bare_integers: operators may read the integers between QuantizeLinear and DequantizeLinear, and some are
            written in other operators, for onnxruntime's kernels.
        float_biases: biases are float32; otherwise int32 behind a DequantizeLinear.
        all_or_none: types of operators that read integers for all of their operands or for none.
    """

    integer_outputs: bool
    computes: frozenset[str] | None
    bare_integers: bool
    float_biases: bool
    all_or_none: frozenset[str] = frozenset()


ONNXRUNTIME = QdqRules(integer_outputs=True, computes=None, bare_integers=True, float_biases=False)
OPENVINO = QdqRules(integer_outputs=False, computes=_AMONG_LAYERS, bare_integers=False, float_biases=False)
TENSORRT = QdqRules(
    integer_outputs=False,
    computes=_AMONG_LAYERS,
    bare_integers=False,
    float_biases=True,
    all_or_none=frozenset({"Add", "Conv", "ConvTranspose", "Gemm", "MatMul"}),
)
