"""``--export mindir`` and ``evaluate --mindir``, on real images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.command import RECORD_BYTES, Finished, Shared, amctq, amctq_here
from tests.runs import Runs, ptq

IMAGES = 100


@pytest.fixture(scope="module")
def both(resnet20_run: tuple[Finished, Path]) -> Path:
    """ONNX and MindIR of one run."""
    return resnet20_run[1]


@pytest.fixture(scope="module")
def alone(shared: Shared, runs: Runs) -> Path:
    """MindIR and no ONNX."""
    options = ("--eval-images", IMAGES, "--batch-size", 70, "--export", "mindir", "--json")
    return runs.finished("ptq", *shared.network("resnet20"), *options)[1]


def _report(folder: Path) -> dict[str, Any]:
    report = json.loads((folder / "report.json").read_text())
    assert isinstance(report, dict)
    return report


def test_every_format_asked_for_is_written(both: Path, alone: Path) -> None:
    assert sorted(path.name for path in both.glob("resnet20_quant.*")) == [
        "resnet20_quant.mindir",
        "resnet20_quant.onnx",
    ]
    assert [path.name for path in alone.glob("resnet20_quant.*")] == ["resnet20_quant.mindir"]
    for folder in (both, alone):
        for file in _report(folder)["files"].values():
            assert (folder / file["name"]).stat().st_size == file["int8_bytes"]


def test_two_processes_write_the_same_bytes(both: Path, alone: Path) -> None:
    assert (both / "resnet20_quant.mindir").read_bytes() == (alone / "resnet20_quant.mindir").read_bytes()


def test_the_file_is_small(both: Path) -> None:
    assert _report(both)["files"]["mindir"]["ratio"] <= 0.28


def test_mindspore_computes_what_onnxruntime_computes(both: Path, alone: Path) -> None:
    compared = _report(both)["simulation"]
    assert compared["through"] == "resnet20_quant.mindir"
    assert compared["images"] == IMAGES
    assert compared["argmax_differences"] <= 2
    names = [check["name"] for check in _report(both)["checks"]]
    assert "resnet20_quant.mindir equals the ONNX file" in names
    assert _report(alone)["simulation"]["argmax_differences"] <= 2


def test_accuracy_is_that_of_the_file_named(both: Path, alone: Path, shared: Shared) -> None:
    assert _report(both)["accuracy"]["file"] == "resnet20_quant.onnx"
    accuracy = _report(alone)["accuracy"]
    assert (accuracy["file"], accuracy["images"]) == ("resnet20_quant.mindir", IMAGES)
    path = alone / "resnet20_quant.mindir"
    arguments = ["--dataset", shared.data, "--mindir", path, "--batch-size", "70", "--json"]
    done = amctq("evaluate", *arguments, "--eval-images", str(IMAGES))
    assert done.code == 0, done.stderr
    assert done.data["accuracy"]["top1"] == accuracy["int8"]["top1"]
    assert done.data["model"]["name"] == "mindir"
    assert done.data["accuracy"]["top1"] == _report(both)["simulation"]["top1"]


@pytest.mark.slow
def test_paths_with_spaces_and_chinese_characters(shared: Shared) -> None:
    folder = Path("我的 数据")
    folder.mkdir()
    (folder / "test_batch.bin").write_bytes((shared.records / "test_batch.bin").read_bytes()[: RECORD_BYTES * 100])
    c_locale = {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    options = ("--calib-images", 16, "--output-dir", folder / "结 果", "--export", "mindir")
    ptq(shared.network("resnet20", folder), *options, env=c_locale)
    path = folder / "结 果" / "resnet20_quant.mindir"
    done = amctq("evaluate", "--dataset", folder, "--mindir", path, "--json", env=c_locale)
    assert done.code == 0, done.stderr


def test_repeated_options_are_a_list(shared: Shared) -> None:
    options = ("--export", "mindir", "--export", "ONNX", "--dry-run", "--calib-images", 8)
    done = amctq_here("ptq", *shared.network("resnet20"), *options, "--json")
    assert done.code == 0, done.stderr
    names = [Path(name).name for name in done.data["files"]]
    assert names[:2] == ["resnet20_quant.mindir", "resnet20_quant.onnx"]


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--mindir", "none.mindir"], 3, "cannot read none.mindir"),
        (["--mindir", "."], 3, "cannot read ."),
        (["--mindir", "empty.mindir"], 3, "empty.mindir: no MindIR model that MindSpore could run: it has no graph"),
        (["--mindir", "text.mindir"], 3, "text.mindir: these 19 bytes are no MindIR model"),
        (["--mindir", "cut.mindir"], 3, "cut.mindir: these 100,000 bytes are no MindIR model"),
        (["--mindir", "other.mindir"], 3, "other.mindir: "),
        (["--mindir", "{file}", "--image-size", "64"], 3, "the model takes image tensor(float)"),
    ],
    ids=["missing", "directory", "empty", "text", "truncated", "onnx", "other-size"],
)
def test_bad_input(options: list[str], code: int, says: str, shared: Shared, both: Path) -> None:
    Path("empty.mindir").touch()
    Path("text.mindir").write_text("this is not a model")
    Path("cut.mindir").write_bytes((both / "resnet20_quant.mindir").read_bytes()[:100_000])
    Path("other.mindir").write_bytes((both / "resnet20_quant.onnx").read_bytes())
    words = [word.format(file=both / "resnet20_quant.mindir") for word in options]
    done = amctq_here("evaluate", "--dataset", shared.data, "--json", *words)
    assert done.code == code, done.stderr
    assert says in done.envelope["errors"][0]["message"]
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("model", ["resnet20", "resnet56"])
def test_on_all_images_the_class_is_the_onnx_files(model: str, shared: Shared) -> None:
    """At least 99.8 % of 10,000 images, and a file of at most 0.28."""
    options = ["--calib-images", "320", "--batch-size", "200", "--simulate", "--export", "onnx,mindir"]
    done = ptq(shared.network(model), *options, timeout=3600)
    compared, files = done.data["simulation"], done.data["files"]
    assert compared["images"] == 10_000
    assert compared["argmax_differences"] <= 20
    assert compared["top1"] == pytest.approx(done.data["accuracy"]["int8"]["top1"], abs=0.2)
    assert files["mindir"]["ratio"] <= 0.28


@pytest.mark.slow
def test_a_large_file_is_a_quarter(shared: Shared) -> None:
    options = ["--image-size", "32", "--mean", "0.4914,0.4822,0.4465", "--std", "0.2023,0.1994,0.2010"]
    options += ["--eval-images", "256", "--export", "mindir"]
    done = ptq(shared.network("resnet50"), *options, timeout=3600)
    assert done.data["files"]["mindir"]["ratio"] <= 0.28
    assert np.isfinite(done.data["accuracy"]["int8"]["top1"])
