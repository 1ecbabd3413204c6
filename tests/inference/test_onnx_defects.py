"""What makes the results of an ONNX file meaningless is refused when it is read, although onnxruntime runs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from amctq.errors import InputError
from amctq.inference.onnx_file import read_onnx


def _saved(scale: object, *, constant: bool = False, external: bool = False) -> Path:
    """QuantizeLinear and DequantizeLinear on images, the second with this scale."""
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]> g (float[N, 3, 4, 4] x) => (float[N, 3, 4, 4] y)
        <float good = {0.5}, uint8 zero = {3}> {
            q = QuantizeLinear(x, good, zero)
            y = DequantizeLinear <axis = 1> (q, scale, zeros)
        }"""
    )
    values = np.asarray(scale, np.float32)
    tensor = onnx.numpy_helper.from_array(values, "scale")
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(values.shape, np.uint8), "zeros"))
    if constant:
        model.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["scale"], value=tensor))
    else:
        model.graph.initializer.append(tensor)
    path = Path("model.onnx")
    onnx.save(model, path, save_as_external_data=external, location="w.bin", size_threshold=0)
    return path


@pytest.mark.parametrize("where", ["initializer", "constant", "external"])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 0.0, -0.5])
def test_a_scale_that_is_none_is_refused(wrong: float, where: str) -> None:
    path = _saved([0.5, wrong, 0.5], constant=where == "constant", external=where == "external")
    said = rf"model\.onnx: y: DequantizeLinear with the scale {wrong:g}, expected finite numbers above 0"
    with pytest.raises(InputError, match=said):
        read_onnx(path, option="--onnx")


def test_right_scales_are_taken() -> None:
    for scale in ([0.5, 1e-30, 1e30], 0.25):
        assert read_onnx(_saved(scale), option="--onnx").session()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("string[N, 3]", r"its input x is text \(tensor\(string\)\), expected numbers"),
        ("seq(float[N])", "its input x is a sequence, expected a tensor"),
    ],
)
def test_inputs_that_are_no_numbers_are_named(kind: str, said: str) -> None:
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": 17]> g ({kind} x) => ({kind} y) {{ y = Identity(x) }}'
    )
    onnx.save(model, "text.onnx")
    with pytest.raises(InputError, match=rf"text\.onnx: {said}"):
        read_onnx(Path("text.onnx"), option="--onnx")
