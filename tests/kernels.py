"""What onnxruntime makes of a model."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnxruntime


def kernels(model: onnx.ModelProto, scratch: Path) -> list[str]:
    """Operators after onnxruntime's optimisation, sorted; ``scratch`` is a folder to write to."""
    return sorted(node.op_type for node in optimised(model, scratch).graph.node)


def optimised(model: onnx.ModelProto, scratch: Path) -> onnx.ModelProto:
    """The graph that onnxruntime runs."""
    path = scratch / "optimised.onnx"
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(path)
