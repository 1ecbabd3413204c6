"""What a network takes: named arrays, whose first axis is the batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Inputs: TypeAlias = Mapping[str, Array]

IMAGE = "image"  # the input of a network that takes images and nothing else
DTYPES = ("float32", "float16", "int32", "int64", "bool")


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """One input, for one sample.

    Attributes:
        shape: without the batch.
        dtype: NumPy's name of the type, one of ``DTYPES``.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"

    def __str__(self) -> str:
        return f"{self.dtype} ({', '.join(map(str, ('N', *self.shape)))})"

    @property
    def mindspore_dtype(self) -> str:
        """MindSpore's name of the type."""
        return "bool_" if self.dtype == "bool" else self.dtype

    @property
    def is_image(self) -> bool:
        """Whether it has channels, height and width."""
        return len(self.shape) == 3 and self.dtype == "float32"


def spec_of(sample: Array) -> InputSpec:
    """The specification of one sample."""
    return InputSpec(shape=sample.shape, dtype=sample.dtype.name)


def samples_in(inputs: Inputs) -> int:
    """How many samples a batch has."""
    return len(next(iter(inputs.values())))


def part(inputs: Inputs, chosen: slice) -> Inputs:
    """Some samples of a batch."""
    return {name: array[chosen] for name, array in inputs.items()}


def repeated(inputs: Inputs, times: int) -> Inputs:
    """Every sample so many times in a row."""
    return {name: np.repeat(array, times, axis=0) for name, array in inputs.items()}


def joined(batches: Iterable[Inputs]) -> Inputs:
    """Several batches as one."""
    every = list(batches)
    return {name: np.concatenate([batch[name] for batch in every]) for name in every[0]}


def zeros(specs: Mapping[str, InputSpec], samples: int) -> Inputs:
    """A batch of zeros."""
    return {name: np.zeros((samples, *spec.shape), spec.dtype) for name, spec in specs.items()}


def unnamed(given: Iterable[str]) -> bool:
    """Whether the inputs of a sample have no names but their positions."""
    names = list(given)
    return names == [IMAGE] or names == [str(index) for index in range(len(names))]


def described(specs: Mapping[str, InputSpec]) -> str:
    """All inputs in one line, for messages."""
    return ", ".join(f"{name} {spec}" for name, spec in specs.items())


def shapes_of(inputs: Inputs) -> str:
    """The shapes of a batch in one line, for messages."""
    shapes = [f"{name} {array.shape}" for name, array in inputs.items()]
    return shapes[0].partition(" ")[2] if list(inputs) == [IMAGE] else ", ".join(shapes)
