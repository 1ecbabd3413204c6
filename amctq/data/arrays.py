"""Images in memory, as arrays, and ``.npz`` files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.data.inputs import IMAGE, Inputs, InputSpec
from amctq.data.npz_file import NpzFile
from amctq.data.passed_over import shown
from amctq.data.preprocess import Preprocessing
from amctq.data.samples import Batch, Change, Dataset, Samples, check_finite, slices
from amctq.errors import InputError
from amctq.quant.numerics import Float32Array

_ROLES = (("train", ("x_train", "y_train")), ("test", ("x_test", "y_test")))
_WHOLE = ("images", "labels")
_CHECKED = 256  # images at once
_LARGEST_PREPARED = 32.0  # far above what any usual mean and standard deviation give
_MAX_CLASSES = 1 << 31


@dataclass(frozen=True, kw_only=True, eq=False)
class ArraySamples(Samples):
    """Images in one array.

    Attributes:
        pixels: uint8 (N, 3, H, W) or, of one channel, (N, 1, H, W), not prepared yet; or float32 (N, C, H, W), prepared
            already.
        labels: int64 (N,).
        preprocessing: for uint8; None for float32.
        sources: see Samples.
        indices: see Samples.
        image_name: what the network calls its images.
        class_names: see Samples.
    """

    pixels: NDArray[np.uint8] | NDArray[np.float32]
    labels: NDArray[np.int64]
    preprocessing: Preprocessing | None
    sources: tuple[str, ...]
    indices: NDArray[np.int64]
    image_name: str = IMAGE
    class_names: tuple[str, ...] | None = None

    @property
    def inputs(self) -> Mapping[str, InputSpec]:  # type: ignore[override]
        """A prepared image, (C, H, W)."""
        channels, *sides = self.pixels.shape[1:]
        if self.preprocessing is not None:
            sides = list(self.preprocessing.input_shape[1:])
        return {self.image_name: InputSpec(shape=(channels, *sides))}

    def _with_names(self, names: Mapping[str, str]) -> ArraySamples:
        return replace(self, image_name=names[self.image_name])

    def take(self, positions: NDArray[np.int64]) -> ArraySamples:
        """The images at these positions."""
        return replace(
            self, pixels=self.pixels[positions], labels=self.labels[positions], indices=self.indices[positions]
        )

    def batches(self, size: int) -> Iterator[Batch]:
        """Prepared images and labels."""
        for part in slices(len(self), size):
            yield self._prepared(self.pixels[part]), self.labels[part]

    def chosen(self, positions: NDArray[np.int64], change: Change | None = None, *, epoch: int | None = None) -> Batch:
        """The stored images, changed and then prepared."""
        del epoch  # ``change`` knows it
        images: Any = self.pixels[positions]
        if change is not None and self.preprocessing is not None:
            images = change(images)
        return self._prepared(images), self.labels[positions]

    def _prepared(self, images: Any) -> Inputs:
        """Images after the preprocessing; without one they are prepared already."""
        if self.preprocessing is None:
            return {self.image_name: images}
        return {
            self.image_name: self.preprocessing.grey(images) if images.shape[1] == 1 else self.preprocessing(images)
        }


def open_npz(path: Path, preprocessing: Preprocessing) -> Dataset:
    """A ``.npz`` with x_train, y_train, x_test, y_test (either pair may be missing), or with images and labels.

    Images are uint8 (N, H, W, 3), (N, 3, H, W) or, of one channel, (N, H, W), prepared like other images; or float32
    (N, C, H, W), not changed. float32 (N, H, W, C) of square or colour images is recognized. Labels are integers (N,).

    Raises:
        InputError: the file cannot be read, or it holds other arrays, NaN or infinity.
    """
    with NpzFile(path) as file:
        names = file.names
        pairs = {role: pair for role, pair in (*_ROLES, ("whole", _WHOLE)) if set(pair) <= set(names)}
        if not pairs:
            message = f"{path} holds {shown(names) or 'nothing'}"
            hint = "expected the arrays images and labels, or x_train, y_train, x_test, y_test"
            raise InputError(message, hint=hint)
        notices: list[str] = []
        found = {
            role: _samples(path, (file.read(images), file.read(labels)), (images, labels), preprocessing, notices)
            for role, (images, labels) in pairs.items()
            if role != "whole" or "test" not in pairs
        }
    return Dataset(
        train=found.get("train"),
        test=found.get("test") or found.get("whole"),
        name=str(path),
        whole="test" not in found,
        notices=tuple(notices),
    )


def _samples(
    path: Path,
    arrays: tuple[NDArray[Any], NDArray[Any]],
    names: tuple[str, str],
    preprocessing: Preprocessing,
    notices: list[str],
) -> ArraySamples:
    pixels, labels = arrays
    where = f"{path}: {names[0]}"
    if pixels.dtype.newbyteorder("=") == np.float32:
        pixels = _prepared(pixels.astype(np.float32, copy=False), where, preprocessing, notices)
    elif pixels.dtype == np.uint8:
        pixels = _channels_first(pixels, where, preprocessing, notices)
    prepared = pixels.dtype == np.float32
    fits = pixels.ndim == 4 and (prepared or (pixels.dtype == np.uint8 and pixels.shape[1] in {1, 3}))
    if not fits or not pixels.size:
        message = f"{where} is {pixels.dtype} {pixels.shape}"
        expected = "expected uint8 (N, H, W, 3), (N, 3, H, W) or, of one channel, (N, H, W), or float32 (N, C, H, W)"
        raise InputError(message, hint=f"{expected}{_way_there(pixels)}")
    return ArraySamples(
        pixels=pixels,
        labels=_labels(labels, len(pixels), f"{path}: {names[1]}"),
        preprocessing=None if prepared else preprocessing,
        sources=(f"{path.name}:{names[0]}",),
        indices=np.arange(len(pixels)),
    )


def _channels_first(
    pixels: NDArray[np.uint8], where: str, preprocessing: Preprocessing, notices: list[str]
) -> NDArray[np.uint8]:
    """uint8 images as (N, C, H, W), where that is clear; ``notices`` takes what the user must know."""
    shape = pixels.shape
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    elif pixels.ndim == 4 and pixels.shape[1] not in {1, 3} and pixels.shape[3] in {1, 3}:
        pixels = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    if pixels.ndim == 4 and pixels.shape[1] == 1 and pixels.size:
        mean, std = (float(np.mean(values)) for values in (preprocessing.mean, preprocessing.std))
        notices.append(
            f"{where} is uint8 {shape}: taken as images of one channel, prepared with mean {mean:.4g} and std {std:.4g}"
        )
    return pixels


def _prepared(pixels: Float32Array, where: str, preprocessing: Preprocessing, notices: list[str]) -> Float32Array:
    """float32 images as (N, C, H, W), all finite; ``notices`` takes what the user must know."""
    if pixels.ndim != 4 or not pixels.size:
        return pixels
    _, second, third, last = pixels.shape
    if second > 4 and (last == 3 or (last in (1, 4) and second == third)):
        notices.append(f"{where} is float32 {pixels.shape}: taken as (N, H, W, C) and transposed to (N, C, H, W)")
        pixels = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    largest = lowest = 0.0
    for part in slices(len(pixels), _CHECKED):
        check_finite({IMAGE: pixels[part]}, part.start, where)
        largest = max(largest, float(np.abs(pixels[part]).max()))
        lowest = min(lowest, float(pixels[part].min()))
    if largest > _LARGEST_PREPARED:
        notices.append(
            f"{where} reaches {largest:,.0f}: float32 images are taken as they are, and neither divided by 255 nor "
            "normalized; uint8 images are"
        )
    elif 0 == lowest < largest <= 1 and preprocessing.normalizes:
        mean, std = (", ".join(f"{value:g}" for value in values) for values in (preprocessing.mean, preprocessing.std))
        notices.append(
            f"{where} lies in 0…1: float32 images are taken as they are, and not normalized with mean {mean} and std "
            f"{std}; if the network takes normalized images, give it those, or uint8 images"
        )
    return pixels


def _way_there(pixels: NDArray[Any]) -> str:
    """How an array of another type or shape becomes one that is taken, where amctq knows."""
    if np.issubdtype(pixels.dtype, np.integer) and pixels.size:
        if int(pixels.min()) >= 0 and int(pixels.max()) <= 255:
            return "; its values are 0…255 or fewer: images.astype(numpy.uint8) if 255 is white"
        return f"; its values reach from {int(pixels.min()):,} to {int(pixels.max()):,}: scale them to 0…255"
    if np.issubdtype(pixels.dtype, np.floating):
        return "; images.astype(numpy.float32) if they are prepared"
    return ""


def _labels(labels: NDArray[Any], images: int, where: str) -> NDArray[np.int64]:
    if labels.ndim == 2 and labels.shape[1] == 1:  # as Keras stores CIFAR-10
        labels = labels[:, 0]
    if labels.shape != (images,) or not np.issubdtype(labels.dtype, np.integer):
        message = f"{where} is {labels.dtype} {labels.shape}, expected ({images},) integers from 0 up"
        raise InputError(message, hint="one class index for each image")
    wrong = np.flatnonzero((labels < 0) | (labels >= _MAX_CLASSES))
    if wrong.size:
        message = f"{where}: label {wrong[0]} is {labels[wrong[0]]}, expected a class index from 0 up"
        raise InputError(message, hint="one class index for each image")
    return labels.astype(np.int64)
