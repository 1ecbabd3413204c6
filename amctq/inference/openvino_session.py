"""Running ONNX files in OpenVINO."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

import numpy as np
import onnx

from amctq.data.inputs import Inputs
from amctq.errors import CheckError, UnavailableError, first_line
from amctq.inference.session import TENSOR_TYPES, FileSession, Outputs, Port, in_batches

_TELEMETRY = "openvino_telemetry"
_PLACES = ("Exception from", "Check '", "FrontEnd API failed with")  # how lines begin that name places in its source
# Float arithmetic stays in float32; otherwise OpenVINO takes bfloat16 or float16 where the CPU has them.
_CONFIG = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}


def require_openvino() -> None:
    """Refuse to go on without OpenVINO.

    Raises:
        UnavailableError: it is not installed, or not whole.
    """
    hint = "pip install 'amctq[openvino]'"
    if importlib.util.find_spec("openvino") is None:
        message = "OpenVINO is not installed"
        raise UnavailableError(message, hint=hint)
    try:
        _import_openvino()
    except Exception as error:
        message = f"OpenVINO is installed, and cannot be imported: {first_line(error)}"
        raise UnavailableError(message, hint=hint) from error


def _import_openvino() -> None:
    """Import OpenVINO as on a machine without its telemetry package, which writes into the home folder and sends.

    OpenVINO has a stub for that. Who has imported the package before has chosen it.
    """
    chosen = _TELEMETRY in sys.modules
    if not chosen:
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # so that importing it fails
    try:
        importlib.import_module("openvino")
    finally:
        if not chosen:
            del sys.modules[_TELEMETRY]


class OpenVinoSession(FileSession):
    """Runs an ONNX model on the CPU in OpenVINO, floats in float32.

    Args:
        content: of the file.

    Attributes:
        compiled: OpenVINO's compiled model.

    Raises:
        UnavailableError: OpenVINO is not installed.
        CheckError: OpenVINO does not load the graph, or, from ``run``, fails in it.
    """

    def __init__(self, content: bytes) -> None:
        require_openvino()
        import openvino

        try:
            core = openvino.Core()
            self.compiled: Any = core.compile_model(core.read_model(model=content), "CPU", _CONFIG)
            self._request: Any = self.compiled.create_infer_request()
        except RuntimeError as error:
            message = f"OpenVINO does not load the graph: {_reason(error)}"
            raise CheckError(message, hint="please report this with the network") from error
        self.inputs = tuple(map(_port, self.compiled.inputs))
        self.outputs = tuple(map(_port, self.compiled.outputs))
        self.metadata = {item.key: item.value for item in onnx.load_model_from_string(content).metadata_props}

    def run(self, inputs: Inputs) -> Outputs:
        """All outputs of the network for a batch."""

        def run(some: Inputs) -> Outputs:
            try:
                found = self._request.infer(self.bound(some))
            except RuntimeError as error:
                message = f"OpenVINO cannot run the graph: {_reason(error)}"
                raise CheckError(message, hint="please report this with the network") from error
            return tuple(np.array(found[output]) for output in self.compiled.outputs)

        return run(inputs) if self.fixed_batch is None else in_batches(run, inputs, self.fixed_batch)


def _port(node: Any) -> Port:
    kind = node.get_element_type().to_dtype().name
    sizes = tuple(size.get_length() if size.is_static else None for size in node.get_partial_shape())
    return Port(name=node.get_any_name(), type=TENSOR_TYPES.get(kind, f"tensor({kind})"), shape=sizes)


def _reason(error: RuntimeError) -> str:
    """What OpenVINO says, without the places in its own source; of its report on operators, the summary."""
    lines = [line.strip(" -") for line in str(error).splitlines()]
    lines = [line for line in lines if line and not line.startswith(_PLACES)]
    if "Summary:" in lines:
        lines = lines[lines.index("Summary:") + 1 :]
    return lines[0] if lines else first_line(error)
