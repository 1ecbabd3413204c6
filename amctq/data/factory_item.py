"""One sample of a user's dataset: what it may be, and what it is read as."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from amctq.data.inputs import DTYPES, IMAGE, Array, Inputs
from amctq.data.samples import check_finite
from amctq.errors import InputError

EXPECTED = (
    "expected pairs of inputs and target: a float32 image (C, H, W) and a whole-numbered class, or any array, tuple of "
    "arrays or dict of arrays by input name, and what the metric reads (None without one)"
)
_MOST_CLASSES = 1 << 31


@dataclass(frozen=True, kw_only=True)
class Item:
    """A sample.

    Attributes:
        inputs: arrays without the batch, by name; by position ("0", "1" …) where they have none.
        target: an array; what the user gave, if it is none; None without a target.
        classified: the target is a class, int64 ().
    """

    inputs: Inputs
    target: Any
    classified: bool


def read_item(item: Any, index: int, where: str) -> Item:
    """Read one item of the user's iterable.

    Args:
        item: what the iterable gives.
        index: its position, for messages.
        where: names the iterable in messages.

    Raises:
        InputError: it is no pair, or holds an array of another type, NaN or infinity.
    """
    try:
        given, target = item
    except (TypeError, ValueError) as error:
        message = f"{where}: item {index} is not a pair of inputs and target"
        raise InputError(message, hint=EXPECTED) from error
    inputs = {name: _input(array, name, index, where) for name, array in _named(given, index, where).items()}
    check_finite({name: array[None] for name, array in inputs.items()}, index, where)
    return Item(inputs=inputs, **_target(target, index, where))


def _named(given: Any, index: int, where: str) -> Mapping[str, Any]:
    if isinstance(given, Mapping):
        if not given or not all(isinstance(name, str) and name for name in given):
            message = f"{where}: the inputs of sample {index} have the keys {list(given)}, expected names of inputs"
            raise InputError(message, hint="use the names of the parameters of construct()")
        return given
    several = isinstance(given, (tuple, list)) and given and all(map(_is_array, given))
    if not several:
        return {IMAGE: given}
    return {IMAGE: given[0]} if len(given) == 1 else {str(position): one for position, one in enumerate(given)}


def _is_array(value: Any) -> bool:
    return isinstance(value, (np.ndarray, np.generic)) or hasattr(value, "asnumpy")


def _input(value: Any, name: str, index: int, where: str) -> Array:
    what = f"image {index}" if name == IMAGE else f"input {name} of sample {index}"
    try:
        array = np.asarray(value.asnumpy() if hasattr(value, "asnumpy") else value)
    except (TypeError, ValueError) as error:
        message = f"{where}: {what} is no array"
        raise InputError(message, hint=EXPECTED) from error
    if array.dtype.name not in DTYPES or not array.size:
        message = f"{where}: {what} is {array.dtype} {array.shape}"
        hint = f"expected {', '.join(DTYPES[:-1])} or {DTYPES[-1]}, and at least one value"
        if array.dtype == np.uint8:
            hint = "pixels are prepared by the function itself: float32 (C, H, W), normalized as in training"
        raise InputError(message, hint=hint)
    return array


def _target(value: Any, index: int, where: str) -> dict[str, Any]:
    if value is None:
        return {"target": None, "classified": False}
    value = value.asnumpy() if hasattr(value, "asnumpy") else value
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):  # arrays of several shapes, such as boxes and their classes
        return {"target": value, "classified": False}
    if array.dtype == object:
        return {"target": value, "classified": False}
    if array.size != 1 or not np.issubdtype(array.dtype, np.integer):
        return {"target": array, "classified": False}
    if not 0 <= int(array.ravel()[0]) < _MOST_CLASSES:
        message = f"{where}: the label of image {index} is {array!r}"
        raise InputError(message, hint=EXPECTED)
    return {"target": np.asarray(int(array.ravel()[0]), np.int64), "classified": True}
