"""``.npz`` files: layouts, types, and what is refused before it counts as a miss or takes the memory."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from amctq.data.inputs import IMAGE
from amctq.data.preprocess import Preprocessing
from amctq.data.samples import Dataset
from amctq.data.source import find_dataset
from amctq.errors import InputError

PREPROCESSING = Preprocessing(image_size=16, mean=(0, 0, 0), std=(1, 1, 1))
FLOATS = np.random.default_rng(5).normal(size=(6, 3, 16, 16)).astype(np.float32)
LABELS = np.arange(6)


def _opened(**arrays: Any) -> Dataset:
    np.savez("data.npz", **arrays)
    return find_dataset("data.npz").open(PREPROCESSING)


def _images(dataset: Dataset) -> np.ndarray[Any, Any]:
    assert dataset.test is not None
    return np.concatenate([inputs[IMAGE] for inputs, _ in dataset.test.batches(4)])


def _refused(**arrays: Any) -> str:
    with pytest.raises(InputError) as caught:
        _opened(**arrays)
    return f"{caught.value.message} {caught.value.hint}"


def test_floats_with_channels_last_are_transposed_and_said() -> None:
    dataset = _opened(images=FLOATS.transpose(0, 2, 3, 1), labels=LABELS)
    assert np.array_equal(_images(dataset), FLOATS)
    assert "taken as (N, H, W, C)" in dataset.notices[0]


@pytest.mark.parametrize("shape", [(6, 3, 16, 16), (6, 1, 16, 16), (6, 16, 4, 4), (6, 3, 16, 3), (6, 8, 40, 1)])
def test_floats_with_channels_first_stay_as_they_are(shape: tuple[int, ...]) -> None:
    images = np.ones(shape, np.float32)
    dataset = _opened(images=images, labels=LABELS)
    assert _images(dataset).shape == shape
    assert not dataset.notices


@pytest.mark.parametrize("shape", [(6, 16, 16), (6, 16, 16, 1), (6, 1, 16, 16)])
def test_pixels_of_one_channel_stay_one_channel_and_are_said(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(6).integers(0, 256, (6, 16, 16)).astype(np.uint8)
    dataset = _opened(images=pixels.reshape(shape), labels=LABELS)
    np.testing.assert_allclose(_images(dataset), pixels[:, None] / 255, atol=1e-6)
    assert "images of one channel, prepared with mean 0 and std 1" in dataset.notices[0]


def test_one_channel_is_prepared_as_a_grey_picture_is() -> None:
    """Resized, and with the mean of the three means."""
    pixels = np.random.default_rng(6).integers(0, 256, (3, 24, 24)).astype(np.uint8)
    one = Preprocessing(image_size=16, mean=(0.3, 0.4, 0.5), std=(0.1, 0.2, 0.3))
    three = Preprocessing(image_size=16, mean=(0.4, 0.4, 0.4), std=(0.2, 0.2, 0.2))
    np.testing.assert_array_equal(one.grey(pixels[:, None]), three(np.repeat(pixels[:, None], 3, axis=1))[:, :1])


def test_floats_of_another_byte_order() -> None:
    assert np.array_equal(_images(_opened(images=FLOATS.astype(">f4"), labels=LABELS)), FLOATS)


def test_floats_that_look_like_pixels_are_said() -> None:
    dataset = _opened(images=np.full((6, 3, 16, 16), 255, np.float32), labels=LABELS)
    assert "reaches 255" in dataset.notices[0]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused_by_its_image(wrong: float) -> None:
    images = FLOATS.copy()
    images[4, 1, 2, 3] = wrong
    assert "images: image 4 holds NaN or infinity" in _refused(images=images, labels=LABELS)
    roles = {"x_train": images, "y_train": LABELS, "x_test": FLOATS, "y_test": LABELS}
    assert "x_train: image 4 holds NaN or infinity" in _refused(**roles)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.full((6, 16, 16, 3), 200, np.int64), "images is int64 (6, 16, 16, 3)"),
        (np.full((6, 16, 16, 3), 200, np.int64), "images.astype(numpy.uint8)"),
        (np.full((6, 16, 16, 3), 60_000, np.uint16), "60,000 to 60,000: scale them"),
        (np.full((6, 16, 16, 3), -1, np.int8), "from -1 to -1"),
        (np.ones((6, 16, 16, 3)), "images.astype(numpy.float32)"),
        (np.ones((6, 16, 16, 3), np.float16), "images.astype(numpy.float32)"),
        (np.ones((6, 16, 16, 3), bool), "images is bool"),
        (np.ones((6, 16), np.uint8), "images is uint8 (6, 16)"),
        (np.ones((6, 16, 16, 4), np.uint8), "images is uint8 (6, 16, 16, 4)"),
        (np.ones((6, 3, 0, 16), np.uint8), "images is uint8 (6, 3, 0, 16)"),
        (np.ones((0, 3, 16, 16), np.float32), "images is float32 (0, 3, 16, 16)"),
        (np.ones((6, 3), np.complex64), "images is complex64"),
    ],
)
def test_other_types_and_shapes(images: np.ndarray[Any, Any], said: str) -> None:
    assert said in _refused(images=images, labels=LABELS[: len(images)])


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.asarray([0, 1, 2, 3, -4, 5]), "label 4 is -4"),
        (np.asarray([0, 1, 2, 3, 1 << 63, 5], np.uint64), "label 4 is 9223372036854775808"),
        (np.asarray([0, 1, np.nan, 3, 4, 5]), "labels is float64"),
        (np.eye(6, dtype=int), "labels is int64 (6, 6)"),
        (np.asarray(list("abcdef")), "labels is <U1"),
        (np.ones(6, bool), "labels is bool"),
    ],
)
def test_labels_that_are_no_class(labels: np.ndarray[Any, Any], said: str) -> None:
    assert said in _refused(images=FLOATS, labels=labels)


def test_python_objects_are_not_executed() -> None:
    said = _refused(images=np.asarray([FLOATS, None], object), labels=LABELS)
    assert "holds Python objects, and amctq executes none" in said


def test_only_what_is_asked_for_is_read() -> None:
    dataset = _opened(images=FLOATS, labels=LABELS, names=np.asarray(["a", None], object))
    assert np.array_equal(_images(dataset), FLOATS)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_arrays_of_one_name_are_refused() -> None:
    """NumPy would read the last labels, and other programs the first."""
    with zipfile.ZipFile("data.npz", "w") as archive:
        for name, array in (("images", FLOATS), ("labels", LABELS), ("labels", LABELS[::-1])):
            content = io.BytesIO()
            np.save(content, array)
            archive.writestr(f"{name}.npy", content.getvalue())
    with pytest.raises(InputError, match=r"data\.npz: duplicate member labels\.npy"):
        find_dataset("data.npz").open(PREPROCESSING)


def test_what_a_mac_leaves_in_an_archive_is_no_array() -> None:
    np.savez("data.npz", images=FLOATS, labels=LABELS)
    with zipfile.ZipFile("data.npz", "a") as archive:
        archive.writestr("__MACOSX/._images.npy", b"\0\5\26\7")
    assert np.array_equal(_images(find_dataset("data.npz").open(PREPROCESSING)), FLOATS)
    with zipfile.ZipFile("other.npz", "w") as archive:
        archive.writestr("__MACOSX/._images.npy", b"\0\5\26\7")
    with pytest.raises(InputError, match="holds nothing"):
        find_dataset("other.npz").open(PREPROCESSING)


def _member(header: np.ndarray[Any, Any], shape: tuple[int, ...]) -> bytes:
    """The content of ``header``, under a header that declares ``shape``."""
    stream = io.BytesIO()
    form: Any = np.lib.format
    form.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return stream.getvalue() + header.tobytes()


@pytest.mark.parametrize("shape", [(1 << 40, 3, 16, 16), (5, 3, 16, 16), (7, 3, 16, 16), (-6, 3, 16, 16)])
def test_a_header_that_declares_another_length(shape: tuple[int, ...]) -> None:
    with zipfile.ZipFile("data.npz", "w") as archive:
        archive.writestr("images.npy", _member(np.zeros((6, 3, 16, 16), np.uint8), shape))
        archive.writestr("labels.npy", b"")
    with pytest.raises(InputError, match=r"images (declares uint8|is damaged)|damaged"):
        find_dataset("data.npz").open(PREPROCESSING)


@pytest.mark.parametrize(
    ("method", "size", "said"),
    [
        (zipfile.ZIP_DEFLATED, 300, "unpacks from .* to 314,572,800 bytes"),
        (zipfile.ZIP_BZIP2, 1, "is compressed with method 12"),
        (zipfile.ZIP_LZMA, 1, "is compressed with method 14"),
    ],
)
def test_a_bomb_is_not_unpacked(method: int, size: int, said: str) -> None:
    with zipfile.ZipFile("data.npz", "w", method) as archive, archive.open("images.npy", "w") as stream:
        for _ in range(size):
            stream.write(bytes(1 << 20))
    with zipfile.ZipFile("data.npz", "a") as archive:
        archive.writestr("labels.npy", b"")
    with pytest.raises(InputError, match=said):
        find_dataset("data.npz").open(PREPROCESSING)


def test_one_array_is_told_to_bring_its_labels() -> None:
    np.save("images.npy", FLOATS)
    with pytest.raises(InputError, match="one array, and images need labels"):
        find_dataset("images.npy")


@pytest.mark.parametrize(
    ("low", "high", "mean", "said"), [(0, 1, 0.5, True), (0, 1, 0.0, False), (-0.5, 1, 0.5, False), (0, 2, 0.5, False)]
)
def test_floats_in_0_to_1_that_would_be_normalized_are_said(low: float, high: float, mean: float, said: bool) -> None:
    images = np.linspace(low, high, 6 * 3 * 16 * 16, dtype=np.float32).reshape(6, 3, 16, 16)
    np.savez("data.npz", images=images, labels=LABELS)
    notices = find_dataset("data.npz").open(replace(PREPROCESSING, mean=(mean,) * 3)).notices
    assert len(notices) == int(said)
    assert all("not normalized with mean 0.5, 0.5, 0.5 and std 1, 1, 1" in text for text in notices)
