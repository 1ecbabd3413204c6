"""What runs a network: a MindSpore cell, an ONNX file in onnxruntime, or (mindir_session.py) a MindIR file."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from amctq.errors import InputError
from amctq.quant.numerics import Float32Array


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
