"""Running ONNX files in onnxruntime."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from amctq.errors import InputError, first_line
from amctq.inference.ascend_lowering import is_deploy, lower
from amctq.inference.session import FileSession, Port
from amctq.quant.numerics import Float32Array
from amctq.runtime import cpu_instructions, has_vnni


def session_options(instructions: Collection[str], *, shares_cores: bool = False) -> onnxruntime.SessionOptions:
    """How amctq sets up onnxruntime.

    Args:
        instructions: of this CPU, as Linux names them; none where not known.
        shares_cores: other work of this process goes on beside a run.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Threads of an idle session that go on spinning take the cores from the next session.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if shares_cores:  # within a run too they then spin where the other work could go on
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Without VNNI a plain session lets products of uint8 and int8 saturate: what is measured is what the file says.
    # VNNI itself is exact, and three times as fast as the kernels that this option asks for.
    if not has_vnni(instructions):
        options.add_session_config_entry("session.x64quantprecision", "1")
    return options


class OnnxSession(FileSession):
    """Runs an ONNX model on the CPU, set up the same way everywhere.

    Args:
        model: the graph in memory; its one input is an image tensor (N, C, H, W), float32.
        shares_cores: other work of this process goes on beside a run.
    """

    def __init__(self, model: onnx.ModelProto | bytes, *, shares_cores: bool = False) -> None:
        options = session_options(cpu_instructions(), shares_cores=shares_cores)
        content = model if isinstance(model, bytes) else model.SerializeToString()
        self._session: Any = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def run(self, images: Float32Array, outputs: Sequence[str] | None = None) -> list[Float32Array]:
        """The named outputs, or all, for a batch of images (N, C, H, W)."""
        return list(self._session.run(outputs, {self._input: images}))

    def run_into(self, images: Float32Array, outputs: Mapping[str, Float32Array]) -> None:
        """Write the named outputs for a batch of images (N, C, H, W) into arrays of the caller's, contiguous float32.

        Raises:
            ValueError: an array has not the shape of its output.
        """
        binding = self._session.io_binding()
        binding.bind_cpu_input(self._input, np.ascontiguousarray(images))
        for name, array in outputs.items():
            binding.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        self._session.run_with_iobinding(binding)

    def logits(self, images: Float32Array) -> Float32Array:
        """The first output, (N, classes)."""
        return self.run(images)[0]

    @property
    def inputs(self) -> tuple[Port, ...]:
        """What the model takes."""
        return tuple(map(_port, self._session.get_inputs()))

    @property
    def outputs(self) -> tuple[Port, ...]:
        """What the model gives."""
        return tuple(map(_port, self._session.get_outputs()))

    @property
    def metadata(self) -> dict[str, str]:
        """What stands in the file beside the graph."""
        return dict(self._session.get_modelmeta().custom_metadata_map)


def _port(node: Any) -> Port:
    return Port(name=node.name, type=node.type, shape=tuple(node.shape))


def onnx_session(content: bytes) -> OnnxSession:
    """A session for the content of a file; one for an NPU is run by what its operators mean.

    Raises:
        InputError: it has operators of an NPU that amctq does not know.
    """
    model = onnx.load_model_from_string(content)
    return OnnxSession(lower(model) if is_deploy(model) else content)


def open_onnx(content: bytes, path: Path) -> OnnxSession:
    """A session for a file, a deploy model included.

    Raises:
        InputError: onnxruntime does not take it.
    """
    try:
        return onnx_session(content)
    except InputError as error:
        message = f"{path}: {error.message}"
        raise InputError(message, hint=error.hint) from error
    except Exception as error:
        message = f"onnxruntime does not take {path}: {first_line(error)}"
        raise InputError(message, hint="the file is damaged, or no ONNX model") from error
