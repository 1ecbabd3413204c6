"""Reading a deploy file back: the numbers of its layers, as whoever converts it would find them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper


@dataclass(frozen=True)
class DeployedLayer:
    """One layer.

    Attributes:
        scale_d: 1 / the scale of its AscendQuant.
        offset_d: of its AscendQuant.
        scale_w: what its AscendDequant multiplies with, divided by ``scale_d``, (C_out,) or (1,).
        weight: int8 (C_out, …).
        bias: int32, or None.
    """

    scale_d: float
    offset_d: float
    scale_w: NDArray[np.float32]
    weight: NDArray[np.int8]
    bias: NDArray[np.int32] | None


def read_back(model: onnx.ModelProto) -> dict[str, DeployedLayer]:
    """All layers that multiply integers, by name."""
    arrays = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    makers = {output: node for node in model.graph.node for output in node.output}
    layers = {}
    for dequant in model.graph.node:
        if dequant.op_type != "AscendDequant":
            continue
        node = makers[dequant.input[0]]
        quant: dict[str, Any] = {
            item.name: helper.get_attribute_value(item) for item in makers[node.input[0]].attribute
        }
        scale_d = np.float32(1 / np.float64(quant["scale"]))
        parameter = arrays[dequant.input[1]]
        assert not np.any(parameter >> np.uint64(32))
        weight = arrays[node.input[1]]
        layers[node.name] = DeployedLayer(
            scale_d=float(scale_d),
            offset_d=quant["offset"],
            scale_w=parameter.astype(np.uint32).view(np.float32) / scale_d,
            weight=weight if weight.ndim == 4 else weight.T,
            bias=arrays[node.input[2]] if len(node.input) > 2 else None,
        )
    return layers
