"""Running ONNX files in onnxruntime."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime

from amctq.data.inputs import Inputs
from amctq.errors import CheckError, first_line
from amctq.inference.ascend_lowering import is_deploy, lower
from amctq.inference.saturation import may_saturate
from amctq.inference.session import FileSession, Outputs, Port, in_batches
from amctq.quant.numerics import Float32Array
from amctq.runtime import cpu_instructions, has_vnni


def session_options(
    instructions: Collection[str], *, shares_cores: bool = False, optimized: bool = True, exact: bool = False
) -> onnxruntime.SessionOptions:
    """The options of every session of amctq.

    Args:
        instructions: those of this CPU, by their names in Linux; empty where not known.
        shares_cores: other threads of this process work during a run.
        optimized: onnxruntime may rewrite the graph; else it runs every node as it is.
        exact: no sum of the file saturates, whatever the CPU is.

    Raises:
        CheckError: onnxruntime does not load the graph, or, from every method that runs it, fails in a node. The
            message names the node, which has the name of its cell and primitive.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what fails is an exception too
    # Otherwise the threads of an idle session keep spinning, and take the cores from the next session.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if shares_cores:  # threads that spin during a run slow down the other work
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Without VNNI, products of uint8 and int8 can saturate in a plain session; with this option all results are exact.
    # VNNI is exact too, and three times as fast as the kernels that this option selects.
    if not exact and not has_vnni(instructions):
        options.add_session_config_entry("session.x64quantprecision", "1")
    return options


class OnnxSession(FileSession):
    """Runs an ONNX model on the CPU in onnxruntime, always with ``session_options``.

    Args:
        model: the graph, or the content of a file.
        shares_cores: other threads of this process work during a run.
        optimized: onnxruntime may rewrite the graph; else it runs every node as it is.
    """

    def __init__(self, model: onnx.ModelProto | bytes, *, shares_cores: bool = False, optimized: bool = True) -> None:
        content = model if isinstance(model, bytes) else model.SerializeToString()
        instructions = cpu_instructions()
        with naming_failures("onnxruntime does not load the graph"):
            exact = has_vnni(instructions) or not may_saturate(
                onnx.load_model_from_string(model) if isinstance(model, bytes) else model
            )
            options = session_options(instructions, shares_cores=shares_cores, optimized=optimized, exact=exact)
            self._session: Any = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self.inputs, self.outputs = (
            tuple(Port(name=node.name, type=node.type, shape=tuple(node.shape)) for node in nodes)
            for nodes in (self._session.get_inputs(), self._session.get_outputs())
        )
        self.metadata = dict(self._session.get_modelmeta().custom_metadata_map)

    def run(self, inputs: Inputs, outputs: Sequence[str] | None = None) -> Outputs:
        """The named outputs, or all of them, for a batch."""

        def run(some: Inputs) -> Outputs:
            with naming_failures("onnxruntime cannot run the graph"):
                return tuple(self._session.run(outputs, self.bound(some)))

        return run(inputs) if self.fixed_batch is None else in_batches(run, inputs, self.fixed_batch)

    def run_into(self, inputs: Inputs, outputs: Mapping[str, Float32Array]) -> None:
        """Write the named outputs for a batch into given arrays, contiguous float32.

        Raises:
            ValueError: an array does not have the shape of its output.
        """
        binding = self._session.io_binding()
        for name, array in self.bound(inputs).items():
            binding.bind_cpu_input(name, np.ascontiguousarray(array))
        for name, array in outputs.items():
            binding.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        with naming_failures("onnxruntime cannot run the graph"):
            self._session.run_with_iobinding(binding)


@contextlib.contextmanager
def naming_failures(what: str) -> Iterator[None]:
    """Report a failure of onnxruntime inside the block as ``what``."""
    try:
        yield
    except (ValueError, OSError, MemoryError):  # of the caller, or of the machine
        raise
    except Exception as error:
        message = f"{what}: {first_line(error)}"
        raise CheckError(message, hint="please report this with the network") from error


def onnx_session(content: bytes) -> OnnxSession:
    """A session for the content of a file; the operators of a deploy file are replaced by standard ones.

    Raises:
        InputError: a deploy file has operators that amctq does not know.
    """
    model = onnx.load_model_from_string(content)
    return OnnxSession(lower(model) if is_deploy(model) else content)
