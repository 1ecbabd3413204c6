"""Opening an ONNX file in the runtime that it is for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amctq.choices import Runtime

if TYPE_CHECKING:
    from amctq.inference.session import FileSession


def require_runtime(runtime: Runtime) -> None:
    """Refuse to go on without a runtime.

    Raises:
        UnavailableError: it is not installed.
    """
    if runtime is Runtime.OPENVINO:
        from amctq.inference.openvino_session import require_openvino

        require_openvino()


def open_onnx(content: bytes, runtime: Runtime) -> FileSession:
    """A session that runs the content of an ONNX file on this CPU.

    Raises:
        UnavailableError: the runtime is not installed.
        InputError: a deploy file has operators that amctq does not know.
        CheckError: the runtime does not load the file.
    """
    if runtime is Runtime.OPENVINO:
        from amctq.inference.openvino_session import OpenVinoSession

        return OpenVinoSession(content)
    from amctq.inference.onnx_session import onnx_session

    return onnx_session(content)
