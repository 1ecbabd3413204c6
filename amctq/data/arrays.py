"""Images in memory, as arrays, and ``.npz`` files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.data.preprocess import Preprocessing
from amctq.data.samples import Batch, Change, Dataset, Samples, slices
from amctq.errors import InputError
from amctq.quant.numerics import Float32Array

_ROLES = (("train", ("x_train", "y_train")), ("test", ("x_test", "y_test")))
_WHOLE = ("images", "labels")


@dataclass(frozen=True, kw_only=True, eq=False)
class ArraySamples(Samples):
    """Images in one array.

    Attributes:
        pixels: uint8 (N, 3, H, W), not prepared yet, or float32 (N, C, H, W), prepared already.
        labels: int64 (N,).
        preprocessing: for uint8; None for float32.
        sources: see Samples.
        indices: see Samples.
    """

    pixels: NDArray[np.uint8] | NDArray[np.float32]
    labels: NDArray[np.int64]
    preprocessing: Preprocessing | None
    sources: tuple[str, ...]
    indices: NDArray[np.int64]

    @property
    def input_shape(self) -> tuple[int, int, int]:  # type: ignore[override]
        """(C, H, W) of a prepared image."""
        if self.preprocessing is not None:
            return self.preprocessing.input_shape
        _, channels, height, width = self.pixels.shape
        return (channels, height, width)

    def take(self, positions: NDArray[np.int64]) -> ArraySamples:
        """The images at these positions."""
        return replace(
            self, pixels=self.pixels[positions], labels=self.labels[positions], indices=self.indices[positions]
        )

    def batches(self, size: int) -> Iterator[Batch]:
        """Prepared images and labels."""
        for part in slices(len(self), size):
            yield self._prepared(self.pixels[part]), self.labels[part]

    def chosen(self, positions: NDArray[np.int64], change: Change | None = None) -> Batch:
        """The stored images, changed and then prepared."""
        images: Any = self.pixels[positions]
        if change is not None and self.preprocessing is not None:
            images = change(images)
        return self._prepared(images), self.labels[positions]

    def _prepared(self, images: Any) -> Float32Array:
        """Images after the preprocessing; without one they are prepared already."""
        prepared: Float32Array = images if self.preprocessing is None else self.preprocessing(images)
        return prepared


def open_npz(path: Path, preprocessing: Preprocessing) -> Dataset:
    """A ``.npz`` with x_train, y_train, x_test, y_test (either pair may be missing), or with images and labels.

    Images are uint8 (N, H, W, 3) or (N, 3, H, W), prepared like other images, or float32 (N, C, H, W), not
    changed. Labels are integers (N,).

    Raises:
        InputError: the file cannot be read, or it holds other arrays.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception as error:  # a damaged archive raises from zipfile, zlib or NumPy
        message = f"{path} is damaged or not a .npz file"
        raise InputError(message, hint="write it with numpy.savez(path, images=…, labels=…)") from error
    found = {
        role: _samples(path, arrays, names, preprocessing)
        for role, names in (*_ROLES, ("whole", _WHOLE))
        if set(names) <= set(arrays)
    }
    if not found:
        message = f"{path} holds {', '.join(sorted(arrays)) or 'nothing'}"
        hint = "expected the arrays images and labels, or x_train, y_train, x_test, y_test"
        raise InputError(message, hint=hint)
    return Dataset(
        train=found.get("train"),
        test=found.get("test") or found.get("whole"),
        name=str(path),
        whole="test" not in found,
    )


def _samples(
    path: Path, arrays: dict[str, NDArray[np.generic]], names: tuple[str, str], preprocessing: Preprocessing
) -> ArraySamples:
    pixels, labels = (arrays[name] for name in names)
    if labels.ndim == 2 and labels.shape[1] == 1:  # as Keras stores CIFAR-10
        labels = labels[:, 0]
    prepared = pixels.dtype == np.float32
    if pixels.ndim == 4 and pixels.dtype == np.uint8 and pixels.shape[3] == 3:
        pixels = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    fits = pixels.ndim == 4 and (prepared or (pixels.dtype == np.uint8 and pixels.shape[1] == 3))
    if not fits or not len(pixels):
        message = f"{path}: {names[0]} is {pixels.dtype} {pixels.shape}"
        raise InputError(message, hint="expected uint8 (N, H, W, 3) or (N, 3, H, W), or float32 (N, C, H, W)")
    if labels.shape != (len(pixels),) or not np.issubdtype(labels.dtype, np.integer) or int(labels.min()) < 0:
        message = f"{path}: {names[1]} is {labels.dtype} {labels.shape}, expected ({len(pixels)},) integers from 0 up"
        raise InputError(message, hint="one class index for each image")
    return ArraySamples(
        pixels=pixels,  # type: ignore[arg-type]
        labels=labels.astype(np.int64),
        preprocessing=None if prepared else preprocessing,
        sources=(f"{path.name}:{names[0]}",),
        indices=np.arange(len(pixels)),
    )
