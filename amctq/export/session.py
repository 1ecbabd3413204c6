"""What runs a network: a MindSpore cell, an ONNX file in onnxruntime, or (mindir_session.py) a MindIR file."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from amctq.errors import InputError, first_line
from amctq.export.ascend_lowering import is_deploy, lower
from amctq.quant.numerics import Float32Array
from amctq.runtime import cpu_instructions, has_vnni
from amctq.signals import signal_handlers_kept


class Session(ABC):
    """A network that can be run."""

    @abstractmethod
    def logits(self, images: Float32Array) -> Float32Array:
        """The network's output, (N, classes), for a batch of images (N, C, H, W)."""

    def seconds_per_image(self, images: Float32Array) -> float:
        """How long one image takes, from one timed run of a batch: for estimates."""
        start = time.perf_counter()
        self.logits(images)
        return (time.perf_counter() - start) / len(images)


class CellSession(Session):
    """Runs a live ``mindspore.nn.Cell``."""

    def __init__(self, cell: Any) -> None:
        self._cell = cell

    def logits(self, images: Float32Array) -> Float32Array:
        """The cell's output, (N, classes)."""
        import mindspore

        with signal_handlers_kept():
            logits: Float32Array = self._cell(mindspore.Tensor(images)).asnumpy()
        return logits


class FixedBatchSession(CellSession):
    """Runs a live cell on batches of one size, so that a graph is compiled once; a smaller batch is filled up.

    Args:
        cell: the network.
        size: images that the cell sees at a time.
    """

    def __init__(self, cell: Any, size: int) -> None:
        super().__init__(cell)
        self._size = size

    def logits(self, images: Float32Array) -> Float32Array:
        """The cell's output, (N, classes), for at most ``size`` images."""
        missing = self._size - len(images)
        if not missing:
            return super().logits(images)
        filled = np.concatenate([images, np.zeros((missing, *images.shape[1:]), np.float32)])
        return super().logits(filled)[: len(images)]


@dataclass(frozen=True, kw_only=True)
class Port:
    """An input or output of a model.

    Attributes:
        name: the model's own.
        type: ``tensor(float)`` and so on.
        shape: a number for each axis that is fixed, a name or None for the others.
    """

    name: str
    type: str
    shape: tuple[int | str | None, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.type} {list(self.shape)}"


class FileSession(Session):
    """Runs an exported file."""

    @property
    @abstractmethod
    def inputs(self) -> tuple[Port, ...]:
        """What the model takes."""

    @property
    @abstractmethod
    def outputs(self) -> tuple[Port, ...]:
        """What the model gives."""

    @property
    @abstractmethod
    def metadata(self) -> dict[str, str]:
        """What stands in the file beside the graph."""

    @property
    def image_size(self) -> int | None:
        """Height of the images where the model fixes it."""
        shape = self.inputs[0].shape
        height = shape[2] if len(shape) == 4 else None
        return height if isinstance(height, int) else None

    def check_input(self, shape: tuple[int, int, int]) -> None:
        """Make sure that the model takes a batch of images of ``shape``, (C, H, W).

        Raises:
            InputError: it has another number of inputs, or they have another type or shape.
        """
        inputs, outputs = self.inputs, self.outputs
        fits = len(inputs) == 1 and inputs[0].type == "tensor(float)" and len(inputs[0].shape) == 4
        if fits:
            pairs = zip(inputs[0].shape[1:], shape, strict=True)
            fits = all(not isinstance(own, int) or own == other for own, other in pairs)
        if not fits:
            found = ", ".join(map(str, inputs))
            message = f"the model takes {found}, and the images are float (N, {', '.join(map(str, shape))})"
            raise InputError(message, hint="check --image-size, and that the model takes one batch of images")
        if isinstance(inputs[0].shape[0], int):
            message = f"the model takes batches of {inputs[0].shape[0]} alone"
            raise InputError(message, hint="export it with a dynamic batch dimension")
        if len(outputs[0].shape) != 2:
            message = f"the model gives {list(outputs[0].shape)}, expected (N, classes)"
            raise InputError(message, hint="amctq measures classifiers")


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


def model_bytes(path: Path, *, option: str) -> bytes:
    """Content of a model file that came with ``option``.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
        raise InputError(message, hint=f"check the path given with {option}") from error


def onnx_session(content: bytes) -> OnnxSession:
    """A session for the content of a file; one for an NPU is run by what its operators mean.

    Raises:
        InputError: it has operators of an NPU that amctq does not know.
    """
    model = onnx.load_model_from_string(content)
    return OnnxSession(lower(model) if is_deploy(model) else content)


def open_onnx(path: Path) -> OnnxSession:
    """A session for a file, a deploy model included.

    Raises:
        InputError: there is no file, or onnxruntime does not take it.
    """
    content = model_bytes(path, option="--onnx")
    try:
        return onnx_session(content)
    except InputError as error:
        message = f"{path}: {error.message}"
        raise InputError(message, hint=error.hint) from error
    except Exception as error:
        message = f"onnxruntime does not take {path}: {first_line(error)}"
        raise InputError(message, hint="the file is damaged, or no ONNX model") from error
