"""Bad input, one row each: exit code, what the message says, and nothing left behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.command import Shared, amctq, write_records


@dataclass(frozen=True)
class Place:
    """Where a case may put things: an empty current directory, and the real files."""

    shared: Shared
    cwd: Path

    def truncated(self, source: Path, size: int) -> Path:
        target = self.cwd / source.name
        target.write_bytes(source.read_bytes()[:size])
        return target


@dataclass(frozen=True, kw_only=True)
class Case:
    """One bad input.

    ``options`` gives the options that differ from a good command line; ``says`` must all stand in the message.
    """

    id: str
    code: int
    says: tuple[str, ...]
    options: Callable[[Place], dict[str, object]]


def _folder(place: Place, **files: dict[str, int]) -> Path:
    folder = place.cwd / "data"
    folder.mkdir()
    for name, settings in files.items():
        write_records(folder / f"{name}.bin", **settings)  # type: ignore[arg-type]
    return folder


def _damaged_records(place: Place, size: int) -> Path:
    folder = _folder(place, test_batch={"images": 20})
    path = folder / "test_batch.bin"
    path.write_bytes(path.read_bytes()[:size])
    return folder


def _file(place: Place, name: str) -> Path:
    path = place.cwd / name
    path.touch()
    return path


def _used(place: Place, *names: str) -> Path:
    folder = place.cwd / "used"
    folder.mkdir()
    for name in names:
        (folder / name).write_text("former")
    return folder


CASES = [
    # dataset
    Case(
        id="dataset-missing",
        code=3,
        says=("no dataset at nowhere", "--dataset"),
        options=lambda _: {"dataset": "nowhere"},
    ),
    Case(
        id="dataset-is-a-file",
        code=3,
        says=("is a file", "folder"),
        options=lambda place: {"dataset": _file(place, "data")},
    ),
    Case(
        id="dataset-empty-folder",
        code=3,
        says=("no dataset in", "data_batch_1.bin"),
        options=lambda place: {"dataset": _folder(place)},
    ),
    Case(
        id="records-empty",
        code=3,
        says=("0 bytes", "3,073"),
        options=lambda place: {"dataset": _damaged_records(place, 0)},
    ),
    Case(
        id="records-truncated",
        code=3,
        says=("5,000 bytes", "3,073", "unpack it again"),
        options=lambda place: {"dataset": _damaged_records(place, 5000)},
    ),
    Case(
        id="records-label-10",
        code=3,
        says=("label 10", "expected 0 to 9"),
        options=lambda place: {"dataset": _folder(place, test_batch={"images": 40, "label": 10})},
    ),
    Case(
        id="no-test-file",
        code=3,
        says=("has no test images", "--eval-images 0"),
        options=lambda place: {"dataset": _folder(place, data_batch_1={"images": 40})},
    ),
    # checkpoint
    Case(id="ckpt-missing", code=3, says=("no checkpoint at none.ckpt",), options=lambda _: {"ckpt": "none.ckpt"}),
    Case(
        id="ckpt-is-a-folder",
        code=3,
        says=("is a folder", ".ckpt file"),
        options=lambda place: {"ckpt": place.shared.data},
    ),
    Case(id="ckpt-empty", code=3, says=("is empty",), options=lambda place: {"ckpt": _file(place, "x.ckpt")}),
    Case(
        id="ckpt-truncated",
        code=3,
        says=("damaged", "100,000 bytes"),
        options=lambda place: {"ckpt": place.truncated(place.shared.checkpoint("resnet20"), 100_000)},
    ),
    Case(
        id="ckpt-is-no-checkpoint",
        code=3,
        says=("not a MindSpore checkpoint",),
        options=lambda place: {"ckpt": place.shared.root / "README.md"},
    ),
    Case(
        id="ckpt-of-another-network",
        code=3,
        says=("does not fit resnet20", "layer1.3.conv1.weight (16, 16, 3, 3)", "--model resnet56"),
        options=lambda place: {"ckpt": place.shared.checkpoint("resnet56")},
    ),
    Case(
        id="ckpt-of-other-classes",
        code=3,
        says=("end_point.weight is (10, 64), expected (100, 64)", "--num-classes 10"),
        options=lambda _: {"num-classes": 100},
    ),
    # options
    Case(
        id="model-unknown", code=2, says=("resnt20", "did you mean resnet20?"), options=lambda _: {"model": "resnt20"}
    ),
    Case(id="calib-images-0", code=2, says=("--calib-images",), options=lambda _: {"calib-images": 0}),
    Case(
        id="calib-images-too-many",
        code=2,
        says=("--calib-images 20001", "20,000 images"),
        options=lambda _: {"calib-images": 20001},
    ),
    Case(
        id="eval-images-too-many",
        code=2,
        says=("--eval-images 10001", "10,000 images"),
        options=lambda _: {"eval-images": 10001},
    ),
    Case(id="eval-images-no-number", code=2, says=("--eval-images", "some"), options=lambda _: {"eval-images": "some"}),
    Case(id="image-size-tiny", code=2, says=("--image-size",), options=lambda _: {"image-size": 4}),
    Case(id="batch-size-0", code=2, says=("--batch-size",), options=lambda _: {"batch-size": 0}),
    Case(id="seed-negative", code=2, says=("--seed",), options=lambda _: {"seed": -1}),
    Case(id="export-unknown", code=2, says=("--export", "tflite", "onnx"), options=lambda _: {"export": "onnx,tflite"}),
    Case(
        id="max-drop-without-accuracy",
        code=2,
        says=("--max-drop", "--eval-images 0"),
        options=lambda _: {"max-drop": 1, "eval-images": 0},
    ),
    # output directory
    Case(
        id="output-is-a-file",
        code=2,
        says=("is a file", "--output-dir"),
        options=lambda place: {"output-dir": _file(place, "out")},
    ),
    Case(
        id="output-holds-former-files",
        code=2,
        says=("resnet20_quant.onnx, report.json", "--force"),
        options=lambda place: {"output-dir": _used(place, "resnet20_quant.onnx", "report.json", "notes.txt")},
    ),
    Case(
        id="output-cannot-be-written",
        code=8,
        says=("cannot write /proc/amctq",),
        options=lambda _: {"output-dir": "/proc/amctq/x"},
    ),
    # what is not here
    Case(
        id="amct-missing",
        code=4,
        says=("amct_mindspore is not installed", "--backend native"),
        options=lambda _: {"backend": "amct"},
    ),
    Case(id="npu-missing", code=4, says=("no NPU", "--device cpu"), options=lambda _: {"device": "ascend"}),
    # checks
    Case(
        id="float-is-chance",
        code=3,
        says=("guessing gives 10.00 %", "--image-size", "--allow-poor-float"),
        options=lambda place: {
            "dataset": _folder(place, test_batch={"images": 200}, data_batch_1={"images": 40}),
            "eval-images": "all",
        },
    ),
    Case(id="gate-missed", code=5, says=("--max-drop", "allowed -100 points"), options=lambda _: {"max-drop": -100}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_bad_input(case: Case, shared: Shared) -> None:
    place = Place(shared, Path.cwd())
    good = {
        "dataset": shared.data,
        "ckpt": shared.checkpoint("resnet20"),
        "model": "resnet20",
        "eval-images": 64,
        "calib-images": 8,
    }
    options = good | case.options(place)
    before = {path: path.read_bytes() for path in place.cwd.rglob("*") if path.is_file()}
    done = amctq("ptq", "--json", *(word for name, value in options.items() for word in (f"--{name}", str(value))))
    assert done.code == case.code, done.stderr
    envelope = done.envelope
    assert (envelope["exit_code"], envelope["status"]) == (case.code, "failed")
    (error,) = envelope["errors"]
    told = f"{error['message']} {error['hint']}"
    for words in case.says:
        assert words in told
        assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert len(done.stderr.splitlines()) <= 3
    after = {path: path.read_bytes() for path in place.cwd.rglob("*") if path.is_file()}
    assert after == before
    assert not (place.cwd / "results").exists()
