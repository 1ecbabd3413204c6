"""Data with a fault, through ``evaluate``: the right accuracy and a word about it, or bad input; never a wrong one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from amctq.data.preprocess import CIFAR10_MEAN, CIFAR10_STD
from tests.command import RECORD_BYTES, Finished, Own, Shared, amctq_here
from tests.runs import ptq

IMAGES = 200


@pytest.fixture
def pixels(shared: Shared) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The first test images, uint8 (N, 32, 32, 3), and their labels."""
    records = np.fromfile(shared.records / "test_batch.bin", np.uint8).reshape(-1, RECORD_BYTES)[:IMAGES]
    return np.ascontiguousarray(records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)), records[:, 0]


@pytest.fixture
def folder(pixels: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]) -> Path:
    """The same as an image folder."""
    for index, (image, label) in enumerate(zip(*pixels, strict=True)):
        place = Path("folder", f"class{label}")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{index:04}.png")
    return Path("folder")


def _evaluated(shared: Shared, dataset: object) -> Finished:
    return amctq_here("evaluate", *shared.network("resnet20", dataset), "--json")


def _top1(shared: Shared, dataset: object) -> float:
    done = _evaluated(shared, dataset)
    assert done.code == 0, done.stderr
    return float(done.data["accuracy"]["top1"])


def _refused(shared: Shared, dataset: object, *words: str) -> None:
    done = _evaluated(shared, dataset)
    assert done.code == 3, done.stderr
    (error,) = done.envelope["errors"]
    assert all(word in f"{error['message']} {error['hint']}" for word in words), error


def test_class_numbers_do_not_shift(shared: Shared, folder: Path) -> None:
    expected = _top1(shared, folder)
    assert expected > 80
    for name in (".ipynb_checkpoints", "__MACOSX"):
        (folder / name).mkdir()
        Image.new("RGB", (32, 32)).save(folder / name / "0.png")
    for place in (folder, folder / "class3"):
        for name in ("._0.png", "Thumbs.db", ".DS_Store"):
            (place / name).write_bytes(b"\0\5\26\7")
    done = _evaluated(shared, folder)
    assert done.code == 0, done.stderr
    assert done.data["accuracy"]["top1"] == expected
    assert "passed over 8 hidden or system entries" in done.stderr
    (folder / "apple").mkdir()
    _refused(shared, folder, "no image in the class folder apple")


def test_a_missing_class_folder_is_said(shared: Shared, folder: Path) -> None:
    for path in (folder / "class0").iterdir():
        path.unlink()
    (folder / "class0").rmdir()
    done = _evaluated(shared, folder)
    assert "has 9 class folders, and the network has 10 classes" in done.stderr


def test_a_class_too_many_is_refused_whichever_images_are_measured(shared: Shared, folder: Path) -> None:
    (folder / "zebra").mkdir()
    Image.new("RGB", (32, 32)).save(folder / "zebra" / "0.png")
    done = amctq_here("evaluate", *shared.network("resnet20", folder), "--eval-images", 20, "--json")
    assert done.code == 3
    assert "class 10, and the network has 10 classes" in done.envelope["errors"][0]["message"]


def test_grey_images_of_sixteen_bits_are_not_white(shared: Shared, folder: Path) -> None:
    deep = Path("deep")
    for path in folder.rglob("*.png"):
        grey = Image.open(path).convert("L")
        grey.save(path)
        target = deep / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save(target)
    expected = _top1(shared, folder)
    assert expected > 30
    assert _top1(shared, deep) == expected


def test_floats_with_channels_last(shared: Shared, pixels: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]) -> None:
    images, labels = pixels
    np.savez("pixels.npz", images=images, labels=labels)
    expected = _top1(shared, "pixels.npz")
    mean, std = np.asarray([CIFAR10_MEAN, CIFAR10_STD], np.float32)
    floats = (images / np.float32(255) - mean) / std
    np.savez("floats.npz", images=floats, labels=labels)
    done = _evaluated(shared, "floats.npz")
    assert done.code == 0, done.stderr
    assert done.data["accuracy"]["top1"] == pytest.approx(expected, abs=0.5)
    assert "taken as (N, H, W, C) and transposed" in done.stderr
    floats[150, 3, 3, 1] = np.nan
    np.savez("nan.npz", images=floats, labels=labels)
    _refused(shared, "nan.npz", "images: image 150 holds NaN or infinity")


def test_an_image_of_a_function_that_is_no_number(own: Own) -> None:
    Path("mydata.py").write_text(
        "import numpy as np\ndef images():\n    for index in range(20):\n"
        "        yield np.full((3, 32, 32), np.inf if index == 17 else 0, np.float32), 0\n"
    )
    done = amctq_here("evaluate", *own.network("small", "mydata.py:images"), "--json")
    assert done.code == 3, done.stderr
    assert "image 17 holds NaN or infinity" in done.envelope["errors"][0]["message"]


def test_what_was_passed_over_stands_in_the_report(own: Own) -> None:
    for label in range(4):
        place = Path("folder", f"class{label}")
        place.mkdir(parents=True)
        for index in range(8):
            Image.new("RGB", (32, 32), (40 * label, 9 * index, 7)).save(place / f"{index}.png")
        (place / "notes.txt").write_text("no image")
    options = ("--calib-images", 8, "--allow-poor-float", "--image-size", 32)
    warnings = ptq(own.network("small", "folder"), *options).data["warnings"]
    assert any("passed over 4 files that are no images (notes.txt" in warning for warning in warnings)
    assert any("has 4 class folders, and the network has 10 classes" in warning for warning in warnings)


_READ = """
import sys
from amctq.data.preprocess import Preprocessing
from amctq.data.source import find_dataset
preprocessing = Preprocessing(image_size=16, mean=(0, 0, 0), std=(1, 1, 1))
for text in sys.argv[1:]:
    for images, labels in find_dataset(text).open(preprocessing).test.batches(8):
        pass
"""


def test_reading_data_writes_nowhere(folder: Path, pixels: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]) -> None:
    np.savez("data.npz", images=pixels[0], labels=pixels[1])
    Path("other.py").write_text("SIZE = 3\n")
    Path("mydata.py").write_text(
        "import numpy as np\nimport other\n"
        "def images():\n    return [(np.zeros((other.SIZE, 32, 32), np.float32), 0)] * 9\n"
    )
    for name in ("home", "tmp"):
        Path(name).mkdir()
    before = sorted(Path().rglob("*"))
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(
        [sys.executable, "-c", _READ, "folder", "data.npz", "mydata.py:images"],
        env={**env, "HOME": str(Path("home").resolve()), "TMPDIR": str(Path("tmp").resolve())},
        check=True,
        capture_output=True,
    )
    assert sorted(Path().rglob("*")) == before
