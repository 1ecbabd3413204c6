"""Sessions, which run a network: a MindSpore cell, an ONNX file in onnxruntime, or a MindIR file in MindSpore."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from amctq.errors import InputError, first_line
from amctq.quant.numerics import Float32Array

_SCORES = frozenset(
    f"tensor({kind})" for kind in "float float16 double int8 int16 int32 int64 uint8 uint16 uint32 uint64".split()
)


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
        """The height of the images; None where it is dynamic, or the model takes no images."""
        shape = self.inputs[0].shape if self.inputs else ()
        height = shape[2] if len(shape) == 4 else None
        return height if isinstance(height, int) else None

    @property
    def classes(self) -> int | None:
        """The number of classes; None where it is dynamic, or the model is no classifier."""
        shape = self.outputs[0].shape if self.outputs else ()
        classes = shape[1] if len(shape) == 2 else None
        return classes if isinstance(classes, int) else None

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
        if not outputs or len(outputs[0].shape) != 2 or outputs[0].type not in _SCORES:
            given = outputs[0] if outputs else "nothing"
            message = f"the model gives {given}, expected the scores of classes, numbers (N, classes)"
            raise InputError(message, hint="amctq measures classifiers; a converter may have an option for raw scores")


@contextlib.contextmanager
def reading_model(path: Path) -> Iterator[None]:
    """Put the path of a model in front of what the block finds wrong in it."""
    try:
        yield
    except InputError as error:
        message = f"{path}: {error.message}"
        raise InputError(message, hint=error.hint) from error


class UserFileSession(Session):
    """Runs a file that amctq need not have written: what goes wrong in it is its own fault.

    Args:
        session: runs the file.
        path: of the file, for messages.
    """

    def __init__(self, session: FileSession, path: Path) -> None:
        self._session = session
        self._path = path

    def logits(self, images: Float32Array) -> Float32Array:
        """The network's output, (N, classes), for a batch of images (N, C, H, W).

        Raises:
            InputError: the file cannot be run.
        """
        try:
            return self._session.logits(images)
        except MemoryError:
            raise
        except Exception as error:
            message = f"{self._path} cannot be run on images {images.shape}: {first_line(error)}"
            hint = "the file is damaged, or no classifier of such images; export it again"
            raise InputError(message, hint=hint) from error
