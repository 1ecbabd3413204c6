"""Sessions, which run a network: a MindSpore cell, an ONNX file in onnxruntime, or a MindIR file in MindSpore."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from amctq.errors import InputError
from amctq.quant.numerics import Float32Array

_S = TypeVar("_S", bound="FileSession")


class Session(ABC):
    """Runs a network."""

    @abstractmethod
    def logits(self, images: Float32Array) -> Float32Array:
        """The network's output, (N, classes), for a batch of images (N, C, H, W)."""


@dataclass(frozen=True, kw_only=True)
class Port:
    """An input or output of a model.

    Attributes:
        name: its name in the model.
        type: such as ``tensor(float)``.
        shape: a number for each fixed axis, a name or None for a dynamic one.
    """

    name: str
    type: str
    shape: tuple[int | str | None, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.type} {list(self.shape)}"


class FileSession(Session):
    """Runs an exported file.

    Attributes:
        inputs: of the model.
        outputs: of the model.
        metadata: the key-value pairs that the file has beside the graph.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    metadata: dict[str, str]

    @property
    def image_size(self) -> int | None:
        """The height of the images; None where it is dynamic."""
        shape = self.inputs[0].shape
        height = shape[2] if len(shape) == 4 else None
        return height if isinstance(height, int) else None

    def check_input(self, shape: tuple[int, int, int]) -> None:
        """Check that the model is a classifier for batches of images of ``shape``, (C, H, W).

        Raises:
            InputError: its inputs or outputs have another number, type or shape.
        """
        inputs, outputs = self.inputs, self.outputs
        takes_images = len(inputs) == 1 and inputs[0].type == "tensor(float)" and len(inputs[0].shape) == 4
        if not takes_images or any(
            isinstance(own, int) and own != size for own, size in zip(inputs[0].shape[1:], shape, strict=True)
        ):
            found = ", ".join(map(str, inputs))
            message = f"the model takes {found}, and the images are float (N, {', '.join(map(str, shape))})"
            raise InputError(message, hint="check --image-size, and that the model takes one batch of images")
        if isinstance(inputs[0].shape[0], int):
            message = f"the model takes only batches of {inputs[0].shape[0]}"
            raise InputError(message, hint="export it with a dynamic batch dimension")
        if len(outputs[0].shape) != 2:
            message = f"the model gives {list(outputs[0].shape)}, expected (N, classes)"
            raise InputError(message, hint="amctq measures classifiers")


def open_file(path: Path, session: Callable[[bytes], _S], *, option: str) -> _S:
    """A session for a model file given with ``option``; ``session`` makes it from the content.

    Raises:
        InputError: the file cannot be read, or ``session`` refuses its content.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
        raise InputError(message, hint=f"check the path given with {option}") from error
    try:
        return session(content)
    except InputError as error:
        message = f"{path}: {error.message}"
        raise InputError(message, hint=error.hint) from error
