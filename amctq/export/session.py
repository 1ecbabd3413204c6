"""onnxruntime sessions, set up the same way everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx
import onnxruntime

from amctq.quant.numerics import Float32Array


class OnnxSession:
    """Runs a model on the CPU.

    Args:
        model: the graph in memory; its one input is an image tensor (N, C, H, W), float32.
    """

    def __init__(self, model: onnx.ModelProto | bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        # Threads of an idle session that go on spinning take the cores from the next session.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        content = model if isinstance(model, bytes) else model.SerializeToString()
        self._session: Any = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def run(self, images: Float32Array, outputs: Sequence[str] | None = None) -> list[Float32Array]:
        """The named outputs, or all, for a batch of images (N, C, H, W)."""
        return list(self._session.run(outputs, {self._input: images}))

    def logits(self, images: Float32Array) -> Float32Array:
        """The first output, (N, classes), for a batch of images."""
        return self.run(images)[0]
