"""Sessions, which run a network: a MindSpore cell, an ONNX file in onnxruntime, or a MindIR file in MindSpore."""

from __future__ import annotations

import contextlib
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from amctq.data.inputs import DTYPES, Inputs, InputSpec, described, joined, part, samples_in, shapes_of, unnamed
from amctq.errors import InputError, first_line

_NUMBERS = frozenset(
    f"tensor({kind})" for kind in "float float16 double int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool".split()
)
# By NumPy's name, the one that onnxruntime has for a tensor of the type.
TENSOR_TYPES = {name: f"tensor({'float' if name == 'float32' else name})" for name in DTYPES}


Outputs: TypeAlias = tuple[NDArray[Any], ...]


class Session(ABC):
    """Runs a network."""

    @abstractmethod
    def run(self, inputs: Inputs) -> Outputs:
        """All outputs of the network for a batch."""


def in_batches(run: Callable[[Inputs], Outputs], inputs: Inputs, size: int) -> Outputs:
    """Run samples in batches of one size; zeros fill up the last one.

    Raises:
        InputError: the first axis of an output is not the batch.
    """
    samples, parts = samples_in(inputs), []
    for start in range(0, samples, size):
        some = part(inputs, slice(start, start + size))
        missing = size - samples_in(some)
        if missing:
            rest = {name: np.zeros_like(array, shape=(missing, *array.shape[1:])) for name, array in some.items()}
            some = joined([some, rest])
        outputs = run(some)
        for output in outputs:
            if output.ndim == 0 or len(output) != size:
                message = f"an output has the shape {output.shape} for a batch of {size}"
                raise InputError(message, hint="amctq reads outputs whose first axis is the batch; export it so")
        parts.append(tuple(output[: size - missing] for output in outputs))
    return parts[0] if len(parts) == 1 else tuple(np.concatenate(outputs) for outputs in zip(*parts, strict=True))


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


def image_size_of(inputs: tuple[Port, ...]) -> int | None:
    """The height of images (N, C, H, W); None where it is dynamic, or the first input is no image."""
    shape = inputs[0].shape if inputs else ()
    height = shape[2] if len(shape) == 4 else None
    return height if isinstance(height, int) else None


def classes_of(outputs: tuple[Port, ...]) -> int | None:
    """The number of classes; None where it is dynamic, or the first output is none of a classifier."""
    shape = outputs[0].shape if outputs else ()
    classes = shape[1] if len(shape) == 2 else None
    return classes if isinstance(classes, int) else None


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

    def bound(self, inputs: Inputs) -> Inputs:
        """A batch by the names of the model: by its own names, else in the order of the model's inputs.

        A file may call its inputs otherwise than the network that it was made from.
        """
        names = [port.name for port in self.inputs]
        return inputs if set(names) == set(inputs) else dict(zip(names, inputs.values(), strict=True))

    @property
    def fixed_batch(self) -> int | None:
        """The only number of samples that the model takes at a time; None where it takes any."""
        first = self.inputs[0].shape[0] if self.inputs and self.inputs[0].shape else None
        return first if isinstance(first, int) else None

    @property
    def image_size(self) -> int | None:
        """The height of the images; None where it is dynamic, or the model takes no images."""
        return image_size_of(self.inputs)

    @property
    def classes(self) -> int | None:
        """The number of classes; None where it is dynamic, or the model is no classifier."""
        return classes_of(self.outputs)

    def check_input(self, given: Mapping[str, InputSpec]) -> None:
        """Check that the model takes batches of such samples.

        Raises:
            InputError: its inputs have another number, name, type or shape, or its outputs are no numbers.
        """
        specs = list(given.values()) if unnamed(given) else [given.get(port.name) for port in self.inputs]
        fits = len(specs) == len(self.inputs) == len(given)
        if not fits or not all(itertools.starmap(_takes, zip(self.inputs, specs, strict=True))):
            takes = ", ".join(map(str, self.inputs))
            message = f"the model takes {takes}, and the dataset gives {described(given)}"
            raise InputError(message, hint="check --image-size and --dataset")
        if not self.outputs or any(port.type not in _NUMBERS for port in self.outputs):
            message = f"the model gives {', '.join(map(str, self.outputs)) or 'nothing'}, expected numbers"
            raise InputError(
                message,
                hint="export a network that gives tensors of numbers; a converter may have an option for raw scores",
            )


def _takes(port: Port, spec: InputSpec | None) -> bool:
    """Whether a model's input takes a batch of such samples."""
    if spec is None or port.type != TENSOR_TYPES[spec.dtype] or len(port.shape) != 1 + len(spec.shape):
        return False
    own = port.shape[1:]
    return all(not isinstance(size, int) or size == given for size, given in zip(own, spec.shape, strict=True))


@contextlib.contextmanager
def reading_model(path: Path) -> Iterator[None]:
    """Put the path of a model in front of what the block finds wrong in it, once where blocks are inside each other."""
    where = f"{path}: "
    try:
        yield
    except InputError as error:
        if error.message.startswith(where):
            raise
        raise InputError(where + error.message, hint=error.hint) from error


class UserFileSession(Session):
    """Runs a file that amctq need not have written: what goes wrong in it is its own fault.

    Args:
        session: runs the file.
        path: of the file, for messages.
    """

    def __init__(self, session: FileSession, path: Path) -> None:
        self._session = session
        self._path = path

    def run(self, inputs: Inputs) -> Outputs:
        """All outputs of the network for a batch.

        Raises:
            InputError: the file cannot be run.
        """
        try:
            return self._session.run(inputs)
        except MemoryError:
            raise
        except Exception as error:
            message = f"{self._path} cannot be run on a batch of {shapes_of(inputs)}: {first_line(error)}"
            raise InputError(message, hint="the file is damaged, or made for other data; export it again") from error
