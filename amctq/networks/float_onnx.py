"""Exporting the float network to ONNX with MindSpore's exporter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx

from amctq.errors import InputError
from amctq.graph.float_graph import FloatGraph
from amctq.graph.opset import raise_opset
from amctq.graph.pooling import use_global_pooling
from amctq.networks.exporting import exporting

INPUT_NAME = "image"
OUTPUT_NAME = "logits"


def export_float(network: Any, input_shape: tuple[int, int, int], scratch: Path) -> FloatGraph:
    """Export a MindSpore network to ONNX, opset 17, with a dynamic batch.

    Args:
        network: ``mindspore.nn.Cell`` in inference mode, from one image tensor to one logits tensor.
        input_shape: (C, H, W) of one image.
        scratch: path of MindSpore's file; the caller removes it.

    Raises:
        InputError: MindSpore cannot export the network, or it has several outputs.
        OSError: there is no room for the file.
    """
    import mindspore
    import numpy as np

    example = mindspore.Tensor(np.zeros((1, *input_shape), np.float32))
    with exporting(network, scratch, "ONNX") as path:
        mindspore.onnx.export(
            network,
            example,
            file_name=path,
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            dynamic_axes={INPUT_NAME: {0: "N"}},
        )
    model = onnx.load(scratch)
    ranks = [len(value.type.tensor_type.shape.dim) for value in model.graph.output]
    if ranks != [2]:
        message = f"the network has outputs of rank {ranks}, expected one (N, classes) tensor of logits"
        raise InputError(message, hint="give amctq only the classifier, without loss or extra heads")
    # dynamic_axes does not reach the output, which keeps the example's batch of 1; onnxruntime would warn in every run.
    for value in model.graph.output:
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    return FloatGraph(model=use_global_pooling(raise_opset(model)), file_bytes=scratch.stat().st_size)
