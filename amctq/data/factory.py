"""A dataset from a function of the user, which returns an iterable of (image, label)."""

from __future__ import annotations

import contextlib
import itertools
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.data.samples import Batch, Change, Dataset, Samples, check_finite
from amctq.errors import AmctqError, InputError, Stopped
from amctq.plugins import USER_CODE_FAILURES, call_factory, format_error, load_factory, parameters_of
from amctq.quant.numerics import Float32Array

_OPTION = "--dataset"
_EXPECTED = "expected pairs of a float32 image (C, H, W) and a whole-numbered class"


@dataclass(frozen=True, kw_only=True, eq=False)
class FactorySamples(Samples):
    """The images of an iterable, which is read again for each pass. Only one batch is kept in memory.

    Attributes:
        items: returns the iterable, for each pass.
        checksums: of the images so far, by index; an image that changes between passes is refused.
        input_shape: see Samples.
        sources: see Samples.
        indices: see Samples.
        labels: None, because only reading the images gives them.
        preprocessing: None, because the images are prepared already.
    """

    items: Callable[[], Any]
    checksums: dict[int, int]
    input_shape: tuple[int, int, int]
    sources: tuple[str, ...]
    indices: NDArray[np.int64]
    labels: None = None
    preprocessing: None = None

    def take(self, positions: NDArray[np.int64]) -> FactorySamples:
        """The images at these positions."""
        return replace(self, indices=self.indices[positions])

    def batches(self, size: int) -> Iterator[Batch]:
        """Images as the iterable gives them, and labels."""
        with self._users_failures():
            yield from self._batches(size)

    def chosen(self, positions: NDArray[np.int64], change: Change | None = None) -> Batch:
        """Images as they are, read by index.

        Raises:
            InputError: the iterable has no access by index.
        """
        del change
        with self._users_failures():
            if not _is_indexed(self._kept):
                message = f"{_OPTION} {self.sources[0]}: it gives its images in one order only; training needs another"
                raise InputError(message, hint="return a list, or an object with __len__ and __getitem__")
            return _stacked([self._checked(index, self._kept[index]) for index in self.indices[positions].tolist()])

    @cached_property
    def _kept(self) -> Any:
        """What the function returns, called once: each training step reads some of its images."""
        return self.items()

    @contextlib.contextmanager
    def _users_failures(self) -> Iterator[None]:
        try:
            yield
        except (AmctqError, Stopped, GeneratorExit):  # GeneratorExit: no more batches are wanted
            raise
        except USER_CODE_FAILURES as error:
            message = f"{_OPTION} {self.sources[0]}: iterating it raised {format_error(error)}"
            raise InputError(message, hint="run it by itself, and correct it") from error

    def _batches(self, size: int) -> Iterator[Batch]:
        found = 0
        checked = itertools.starmap(self._checked, self._chosen())
        while pairs := list(itertools.islice(checked, size)):
            found += len(pairs)
            yield _stacked(pairs)
        if found < len(self):
            message = f"{_OPTION} {self.sources[0]}: it gave {found} of {len(self)} images this time"
            raise InputError(message, hint="the function must return all images each time it is called")

    def _checked(self, index: int, item: Any) -> tuple[Float32Array, int]:
        """An item as image and class, refused if the shape is not that of the others, or if the image has changed."""
        image, label = _pair(item, index, self.sources[0])
        checksum = _checksum(image, label)
        if self.checksums.setdefault(index, checksum) != checksum:
            message = f"{_OPTION} {self.sources[0]}: image {index} is not the same each time"
            raise InputError(message, hint="do not shuffle or augment: calibration and evaluation images would mix")
        if image.shape != self.input_shape:
            message = f"{_OPTION} {self.sources[0]}: image {index} has shape {image.shape}, others {self.input_shape}"
            raise InputError(message, hint=_EXPECTED)
        return image, label

    def _chosen(self) -> Iterator[tuple[int, Any]]:
        items = self.items()
        if _is_indexed(items):
            for index in self.indices:
                yield int(index), items[int(index)]
            return
        wanted = set(self.indices.tolist())
        last = int(self.indices[-1])
        for index, item in enumerate(items):
            if index in wanted:
                yield index, item
            if index == last:
                return


def open_factory(text: str) -> Dataset:
    """Call ``path/to/file.py:name`` or ``package.module:name``.

    A function that takes ``role`` is called with "train" and with "test", and may return None for one of them.
    Any other function is called without arguments, and its images have no roles.

    Raises:
        InputError: it raises, or gives anything but images and labels.
    """
    factory = load_factory(text, option=_OPTION)
    if "role" in parameters_of(factory):
        train, test = (_samples(factory, text, role=role) for role in ("train", "test"))
        if train is None and test is None:
            message = f"{_OPTION} {text}: it returns None for role 'train' and for role 'test'"
            raise InputError(message, hint=_EXPECTED)
        return Dataset(train=train, test=test, name=text)
    return Dataset(train=None, test=_samples(factory, text), name=text, whole=True)


def _samples(factory: Callable[..., Any], text: str, **role: str) -> FactorySamples | None:
    def items() -> Any:
        return call_factory(factory, text, option=_OPTION, **role)

    made = items()
    if made is None and role:
        return None
    checksums: dict[int, int] = {}
    shape: tuple[int, ...] | None = None
    try:
        # With access by index, only the first image is read now; without it all are read once, to count them.
        indexed = _is_indexed(made)
        count = len(made) if indexed else 0
        for index, item in enumerate(itertools.islice(made, min(count, 1)) if indexed else made):
            image, label = _pair(item, index, text)
            checksums[index] = _checksum(image, label)
            shape = shape or image.shape
            count = max(count, index + 1)
    except (InputError, Stopped):
        raise
    except USER_CODE_FAILURES as error:
        message = f"{_OPTION} {text}: iterating it raised {format_error(error)}"
        raise InputError(message, hint=_EXPECTED) from error
    if shape is None:
        message = f"{_OPTION} {text}: it gives no images"
        raise InputError(message, hint=_EXPECTED)
    channels, height, width = shape
    return FactorySamples(
        items=items,
        checksums=checksums,
        input_shape=(channels, height, width),
        sources=(text,),
        indices=np.arange(count),
    )


def _is_indexed(items: Any) -> bool:
    """Whether any image can be read by its index."""
    return hasattr(items, "__getitem__") and hasattr(items, "__len__")


def _stacked(pairs: list[tuple[Float32Array, int]]) -> Batch:
    images, labels = zip(*pairs, strict=True)
    return np.stack(images), np.asarray(labels, np.int64)


def _checksum(image: Float32Array, label: int) -> int:
    return zlib.crc32(np.ascontiguousarray(image).tobytes(), label)


def _pair(item: Any, index: int, text: str) -> tuple[Float32Array, int]:
    """One item as an image (C, H, W) float32 and a class."""
    try:
        image, label = item
        image = np.asarray(image.asnumpy() if hasattr(image, "asnumpy") else image)
        label = np.asarray(label.asnumpy() if hasattr(label, "asnumpy") else label)
    except (TypeError, ValueError) as error:
        message = f"{_OPTION} {text}: item {index} is not a pair of image and label"
        raise InputError(message, hint=_EXPECTED) from error
    if image.ndim != 3 or image.dtype != np.float32 or not image.size:
        message = f"{_OPTION} {text}: image {index} is {image.dtype} {image.shape}"
        raise InputError(message, hint=_EXPECTED)
    check_finite(image[None], index, f"{_OPTION} {text}")
    if label.size != 1 or not np.issubdtype(label.dtype, np.integer) or not 0 <= int(label.ravel()[0]) < 1 << 31:
        message = f"{_OPTION} {text}: the label of image {index} is {label!r}"
        raise InputError(message, hint=_EXPECTED)
    return image, int(label.ravel()[0])
