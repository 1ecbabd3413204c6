"""Which files are read, and which images do what."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from amctq.data import cifar
from amctq.data.inputs import IMAGE
from amctq.data.preprocess import CIFAR10_MEAN, CIFAR10_STD, IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from amctq.data.samples import Batches, Dataset, Split, split
from amctq.errors import InputError, UsageError
from tests.command import Shared, write_records

PREPROCESSING = Preprocessing(image_size=32, mean=CIFAR10_MEAN, std=CIFAR10_STD)


def _open(folder: Path) -> Dataset:
    return cifar.open_cifar(cifar.find_files(folder), PREPROCESSING)


def _split(folder: Path, *, calibration: int, evaluation: int | None = None, seed: int = 1, tuning: int = 0) -> Split:
    return split(
        _open(folder),
        calibration_images=calibration,
        evaluation_images=evaluation,
        seed=seed,
        tuning_images=tuning,
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Both folders of the sample guide, which leaves the test file beside the training files as well."""
    data = tmp_path / "data"
    for index in (1, 2):
        write_records(data / cifar.TRAIN_FOLDER / f"data_batch_{index}.bin", images=30, seed=index)
    write_records(data / cifar.TRAIN_FOLDER / "test_batch.bin", images=20, seed=9)
    write_records(data / cifar.TEST_FOLDER / "test_batch.bin", images=20, seed=9)
    return data


def test_root_and_folders_are_understood(root: Path) -> None:
    files = cifar.find_files(root)
    assert [path.name for path in files.train] == ["data_batch_1.bin", "data_batch_2.bin"]
    assert files.test == root / cifar.TEST_FOLDER / "test_batch.bin"
    inner = cifar.find_files(root / cifar.TRAIN_FOLDER)
    assert inner.train == files.train
    assert inner.test == root / cifar.TRAIN_FOLDER / "test_batch.bin"
    verify = cifar.find_files(root / cifar.TEST_FOLDER)
    assert verify.train == ()
    assert verify.test == files.test


def test_training_files_calibrate_and_the_test_file_evaluates(root: Path) -> None:
    chosen = _split(root, calibration=60)
    assert chosen.calibration.sources == ("data_batch_1.bin", "data_batch_2.bin")
    assert chosen.evaluation is not None
    assert chosen.evaluation.sources == ("test_batch.bin",)
    assert len(chosen.evaluation) == 20


def test_without_training_files_the_split_is_disjoint_and_complete(root: Path) -> None:
    chosen = _split(root / cifar.TEST_FOLDER, calibration=7)
    assert chosen.evaluation is not None
    used = [*chosen.calibration.indices, *chosen.evaluation.indices]
    assert sorted(used) == list(range(20))


@pytest.mark.parametrize("folder", [".", cifar.TEST_FOLDER])
def test_tuning_images_have_no_other_role_and_change_none(root: Path, folder: str) -> None:
    plain, chosen = (_split(root / folder, calibration=7, tuning=count) for count in (0, 9))
    assert chosen.calibration.indices.tolist() == plain.calibration.indices.tolist()
    assert chosen.tuning is not None
    assert chosen.evaluation is not None
    assert len(chosen.tuning) == 9
    assert set(chosen.tuning.indices.tolist()).isdisjoint(chosen.calibration.indices.tolist())
    if folder == ".":
        assert len(chosen.evaluation) == 20
    else:
        used = [*chosen.calibration.indices, *chosen.tuning.indices, *chosen.evaluation.indices]
        assert sorted(used) == list(range(20))
        assert "tuning" in chosen.note


def test_more_tuning_images_than_there_are(root: Path) -> None:
    with pytest.raises(UsageError, match="--tuning-images 54: 53 images"):
        _split(root, calibration=7, tuning=54)
    with pytest.raises(UsageError, match="--tuning-images 13: 12 images"):  # one is left to evaluate
        _split(root / cifar.TEST_FOLDER, calibration=7, tuning=13)


def test_the_seed_chooses(root: Path) -> None:
    def chosen(seed: int) -> list[int]:
        return _split(root, calibration=10, evaluation=0, seed=seed).calibration.indices.tolist()

    assert chosen(1) == chosen(1)
    assert chosen(1) != chosen(2)
    assert len(set(chosen(1))) == 10


def test_evaluation_takes_the_first_images_in_order(root: Path) -> None:
    chosen = _split(root, calibration=1, evaluation=5)
    assert chosen.evaluation is not None
    assert chosen.evaluation.indices.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("images", [0, 61])
def test_impossible_calibration_counts(root: Path, images: int) -> None:
    with pytest.raises(UsageError, match="60 images"):
        _split(root, calibration=images)


def test_one_image_must_be_left_to_evaluate(root: Path) -> None:
    with pytest.raises(UsageError, match="19 images"):
        _split(root / cifar.TEST_FOLDER, calibration=20)
    assert len(_split(root / cifar.TEST_FOLDER, calibration=20, evaluation=0).calibration) == 20


def test_too_many_evaluation_images(root: Path) -> None:
    with pytest.raises(UsageError, match="20 images"):
        _split(root, calibration=1, evaluation=21)


def test_no_test_file_no_accuracy(root: Path) -> None:
    (root / cifar.TRAIN_FOLDER / "test_batch.bin").unlink()
    with pytest.raises(InputError, match="no test images"):
        _split(root / cifar.TRAIN_FOLDER, calibration=1)
    assert _split(root / cifar.TRAIN_FOLDER, calibration=1, evaluation=0).evaluation is None


def test_the_python_version_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1").touch()
    with pytest.raises(InputError) as caught:
        cifar.find_files(tmp_path)
    assert "Python version" in (caught.value.hint or "")


def test_records_are_labels_and_planes(tmp_path: Path) -> None:
    record = np.concatenate([[7], np.full(1024, 1), np.full(1024, 2), np.full(1024, 3)]).astype(np.uint8)
    (tmp_path / "test_batch.bin").write_bytes(record.tobytes() * 2)
    inputs, labels = next(iter(Batches(samples=_split(tmp_path, calibration=1).calibration, size=8)))
    images = inputs[IMAGE]
    assert labels.tolist() == [7]
    assert images.shape == (1, 3, 32, 32)
    expected = (np.asarray([1, 2, 3]) / 255 - CIFAR10_MEAN) / CIFAR10_STD
    assert images[0, :, 5, 5] == pytest.approx(expected, abs=1e-6)


def test_preprocessing_is_the_formula() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32), dtype=np.uint8)
    prepared = Preprocessing(image_size=32, mean=IMAGENET_MEAN, std=IMAGENET_STD)(pixels)
    mean = np.asarray(IMAGENET_MEAN).reshape(1, 3, 1, 1)
    std = np.asarray(IMAGENET_STD).reshape(1, 3, 1, 1)
    assert prepared.dtype == np.float32
    assert prepared == pytest.approx((pixels / 255 - mean) / std, abs=1e-6)


def test_images_are_resized_as_mindspore_does_it() -> None:
    from mindspore.dataset import vision

    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
    prepared = Preprocessing(image_size=48, mean=(0, 0, 0), std=(1, 1, 1))(pixels)
    expected = vision.Resize((48, 48))(pixels[0].transpose(1, 2, 0)).transpose(2, 0, 1)
    assert prepared.shape == (2, 3, 48, 48)
    assert prepared[0] == pytest.approx(expected / 255, abs=1e-6)


def test_the_last_partial_batch_is_kept(root: Path) -> None:
    batches = Batches(samples=_split(root, calibration=10).calibration, size=4)
    assert [len(labels) for _, labels in batches] == [4, 4, 2]
    assert len(batches) == 3


def test_real_files(shared: Shared) -> None:
    cifar.check_files(cifar.find_files(shared.data))
    test = _open(shared.data).test
    assert test is not None
    labels = np.concatenate([labels for _, labels in test.batches(1000)])
    assert np.bincount(labels).tolist() == [1000] * 10


def test_centre_crop_is_imagenets_whatever_the_size(tmp_path: Path) -> None:
    from mindspore.dataset import vision

    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, 56, 56), dtype=np.uint8)
    prepared = Preprocessing(image_size=56, mean=(0, 0, 0), std=(1, 1, 1), center_crop=True)(pixels)
    expected = vision.CenterCrop(56)(vision.Resize(64)(pixels[0].transpose(1, 2, 0))).transpose(2, 0, 1)
    assert prepared[0] == pytest.approx(expected / 255, abs=1e-6)


def test_a_picture_beside_the_record_files_does_not_hide_them(root: Path) -> None:
    from PIL import Image

    from amctq.data.source import find_dataset

    (root / "notes").mkdir()
    Image.new("RGB", (8, 8)).save(root / "notes" / "plot.png")
    assert find_dataset(str(root)).kind == "cifar10"
