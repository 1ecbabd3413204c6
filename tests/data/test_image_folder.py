"""Image folders: which folder is which class, what is an image, and what is passed over."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from amctq.data.preprocess import Preprocessing
from amctq.data.samples import Dataset
from amctq.data.source import find_dataset
from amctq.errors import InputError

PREPROCESSING = Preprocessing(image_size=8, mean=(0, 0, 0), std=(1, 1, 1))


def _picture(path: Path, shade: int = 90, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (shade, shade, shade)).save(path, **options)  # type: ignore[arg-type]
    return path


def _opened(root: Path) -> Dataset:
    source = find_dataset(str(root))
    assert source.kind == "image-folder"
    return source.open(PREPROCESSING)


def _labels(dataset: Dataset) -> list[int]:
    assert dataset.test is not None
    return np.concatenate([labels for _, labels in dataset.test.batches(100)]).tolist()


def _refused(root: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        dataset = _opened(root)
        assert dataset.test is not None
        list(dataset.test.batches(4))
    assert caught.value.hint
    return caught.value


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("ant", "bee", "cat"):
        _picture(tmp_path / "pictures" / name / "0.png")
    return tmp_path / "pictures"


@pytest.mark.parametrize(
    "name",
    [
        ".ipynb_checkpoints",
        "__MACOSX",
        ".git",
        "$RECYCLE.BIN",
        "System Volume Information",
        "@eaDir",
        "lost+found",
        "@Recycle",
    ],
)
def test_hidden_and_system_folders_are_no_class(root: Path, name: str) -> None:
    shutil.copytree(root / "ant", root / name)
    dataset = _opened(root)
    assert _labels(dataset) == [0, 1, 2]
    assert dataset.classes == ("ant", "bee", "cat")
    (notice,) = dataset.notices
    assert name in notice
    assert "passed over" in notice


@pytest.mark.parametrize("name", ["._0.png", ".hidden.png", "Thumbs.db", ".DS_Store", "desktop.ini", "THUMBS.DB"])
def test_hidden_and_system_files_are_no_image(root: Path, name: str) -> None:
    (root / "bee" / name).write_bytes(b"\0\5\26\7" * 9)
    (root / name).write_bytes(b"\0\5\26\7" * 9)
    dataset = _opened(root)
    assert _labels(dataset) == [0, 1, 2]
    (notice,) = dataset.notices
    assert f"2 hidden or system entries ({name}, {name})" in notice


@pytest.mark.parametrize("inside", [[], [".DS_Store", "notes.txt"]], ids=["empty", "without-images"])
def test_a_class_without_an_image_is_named(root: Path, inside: list[str]) -> None:
    (root / "bat").mkdir()
    for name in inside:
        (root / "bat" / name).write_bytes(b"no image")
    error = _refused(root)
    assert "no image in the class folder bat" in error.message


def test_a_class_that_is_a_link_to_nothing_is_named(root: Path) -> None:
    """It may be a disk that is not mounted: without it all classes after it would have other numbers."""
    shutil.rmtree(root / "bee")
    (root / "bee").symlink_to("/nowhere/bee")
    assert ": links to nothing: bee" in _refused(root).message


def test_a_class_without_a_readable_image_is_named(root: Path) -> None:
    (root / "bee" / "0.png").write_bytes(b"no image")
    (root / "bee" / "1.jpg").write_bytes(b"")
    error = _refused(root)
    assert "no readable image in the class folder bee" in error.message


def test_what_is_no_image_is_passed_over_and_said(root: Path) -> None:
    (root / "bee" / "labels.csv").write_text("0.png,1\n")
    (root / "README.md").write_text("P5 is not what this is\n")
    dataset = _opened(root)
    assert _labels(dataset) == [0, 1, 2]
    (notice,) = dataset.notices
    assert "1 files outside a class folder (README.md)" in notice
    assert "1 files that are no images (labels.csv)" in notice


@pytest.mark.parametrize("name", ["photo", "photo.dat", "photo.PNG", "photo.png.backup"])
def test_an_image_is_one_by_its_content(root: Path, name: str) -> None:
    (root / "bee" / "0.png").rename(root / "bee" / name)
    assert _labels(_opened(root)) == [0, 1, 2]


@pytest.mark.parametrize("form", ["webp", "tiff", "gif", "ppm", "jpeg", "bmp"])
def test_other_formats_are_images(root: Path, form: str) -> None:
    (root / "bee" / "0.png").unlink()
    _picture(root / "bee" / f"0.{form}", format=form)
    assert _labels(_opened(root)) == [0, 1, 2]


def test_folders_inside_a_class_belong_to_it_and_are_said(root: Path) -> None:
    for name in ("0.png", "1.png"):
        _picture(root / "bee" / "images" / "more" / name)
    (root / "bee" / "images" / "back").symlink_to(root / "bee")  # a circle
    dataset = _opened(root)
    assert _labels(dataset) == [0, 1, 1, 1, 2]
    assert any("2 images in folders inside a class folder are taken as that class" in said for said in dataset.notices)
    assert any("folders that lead back or too deep (back)" in said for said in dataset.notices)


@pytest.mark.parametrize("to", ["..", "../..", "../ant", "../ant/inside", "/"])
@pytest.mark.parametrize("linked", [False, True], ids=["own-folder", "linked-folder"])
def test_a_link_back_to_other_classes_is_passed_over_and_said(to: str, linked: bool, root: Path) -> None:
    """All images would be of the class with the link."""
    (root / "ant" / "inside").mkdir()
    if linked:  # the class is elsewhere, and the link leads to the folder of the dataset all the same
        (root / "bee").rename(root.parent / "elsewhere")
        (root / "bee").symlink_to(root.parent / "elsewhere")
        to = to.replace("../ant", str(root / "ant"))
    (root / "bee" / "back").symlink_to(to)
    dataset = _opened(root)
    assert _labels(dataset) == [0, 1, 2]
    assert any("1 links that lead back to other classes (bee/back)" in said for said in dataset.notices)


def test_links_to_what_is_no_class_are_followed(root: Path, tmp_path: Path) -> None:
    for store in (root / ".store", tmp_path / "store"):
        _picture(store / "0.png")
        (root / "bee" / f"to{store.name}").symlink_to(store)
    assert _labels(_opened(root)) == [0, 1, 1, 1, 2]


@pytest.mark.parametrize(
    ("to", "said"),
    [(".", "is a link back to"), ("..", "is a link back to"), ("ant", "whose images are of the class ant")],
)
def test_a_class_that_is_a_link_back_is_refused(to: str, said: str, root: Path) -> None:
    (root / "bat").symlink_to(to)
    error = _refused(root)
    assert said in error.message
    assert "remove the link" in str(error.hint)


@pytest.mark.parametrize("way", ["images", "data/images", "train/images"])
def test_a_folder_around_the_classes_is_refused(way: str, root: Path, tmp_path: Path) -> None:
    around = tmp_path / "around"
    shutil.copytree(root, around / way)
    error = _refused(around)
    assert f"{around / way} has 3 with images: ant, bee, cat" in error.message
    assert f"give --dataset {around / way}," in str(error.hint)
    assert _labels(_opened(around / way)) == [0, 1, 2]


@pytest.mark.parametrize("extra", [[], ["one/1.png"], ["one/1.png", "two/0.png", "0.png"]])
def test_one_class_is_taken_where_its_images_say_so(extra: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "all"
    for name in ["more/0.png"] * (not extra) + extra:
        _picture(folder / "images" / name)
    assert _labels(_opened(folder)) == [0] * max(len(extra), 1)


def test_a_folder_above_the_dataset_is_no_dataset_of_one_class(root: Path, tmp_path: Path) -> None:
    above = tmp_path / "above" / "birds"
    for role in ("train", "val"):
        shutil.copytree(root, above / role)
    error = _refused(above.parent)
    assert "is no class: it has train and val" in error.message
    assert str(above) in str(error.hint)


def test_roles_and_what_stands_beside_them(root: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(root, data / "Train")
    shutil.copytree(root, data / "valid")
    _picture(data / "test" / "0.png")  # no class folders: the usual test set without labels
    (data / ".DS_Store").touch()
    dataset = _opened(data)
    assert dataset.train is not None
    assert not dataset.whole
    assert _labels(dataset) == [0, 1, 2]
    (notice,) = dataset.notices
    assert ".DS_Store" in notice
    assert "1 folders beside those of the roles (test)" in notice


def test_an_empty_class_of_one_role_is_named(root: Path, tmp_path: Path) -> None:
    for role in ("train", "val"):
        shutil.copytree(root, tmp_path / "data" / role)
    (tmp_path / "data" / "val" / "bee" / "0.png").unlink()
    assert "no image in the class folder bee" in _refused(tmp_path / "data").message


def test_numbers_as_names_are_said(tmp_path: Path) -> None:
    for name in ("1", "2", "10"):
        _picture(tmp_path / "data" / name / "0.png")
    dataset = _opened(tmp_path / "data")
    assert dataset.classes == ("1", "10", "2")
    assert any("2 is class 2, after 10" in said for said in dataset.notices)


def test_another_kind_of_folder_is_left_early(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "logs"
    folder.mkdir(parents=True)
    for index in range(10_001):
        (folder / f"{index}.txt").touch()
    with pytest.raises(InputError, match="10,000 files"):
        find_dataset(str(tmp_path / "data"))


def test_a_fifo_is_no_image(root: Path) -> None:
    os.mkfifo(root / "bee" / "1.png")
    assert "1.png: it is a named pipe (FIFO)" in _refused(root).message
    (root / "bee" / "1.png").rename(root / "bee" / "pipe")
    assert _labels(_opened(root)) == [0, 1, 2]


def test_a_thin_image_is_refused_before_it_grows(root: Path) -> None:
    Image.new("RGB", (1, 60_000)).save(root / "cat" / "0.png")
    cropped = Preprocessing(image_size=224, mean=(0, 0, 0), std=(1, 1, 1), center_crop=True)
    dataset = find_dataset(str(root)).open(cropped)
    assert dataset.test is not None
    with pytest.raises(InputError, match=r"cat/0.png: an image of 1 x 60,000 pixels is too thin"):
        list(dataset.test.batches(4))


def test_an_image_that_mindspore_does_not_resize(root: Path) -> None:
    Image.new("RGB", (1, 1)).save(root / "cat" / "0.png")
    dataset = find_dataset(str(root)).open(Preprocessing(image_size=2000, mean=(0, 0, 0), std=(1, 1, 1)))
    assert dataset.test is not None
    with pytest.raises(InputError, match=r"cat/0.png: MindSpore does not resize 1 x 1 pixels for 2000"):
        list(dataset.test.chosen(np.asarray([2])))
