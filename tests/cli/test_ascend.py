"""``--export ascend`` and ``fakequant``, atc, and ``evaluate`` on what was exported."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from amctq.amct_files.record_text import load_record
from amctq.cli.exported import file_rows
from amctq.pretrained import CHECKPOINT
from tests import strict_atc
from tests.command import Finished, Shared, amctq, amctq_here
from tests.export.deploy_file import read_back
from tests.runs import Runs, ptq

IMAGES = 200


@pytest.fixture
def pictures(pictures_in_chinese: Path) -> Path:
    """A folder whose name CANN would not take."""
    return pictures_in_chinese


@pytest.fixture(scope="module")
def atc(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment that has the strict stand-in on PATH."""
    folder = tmp_path_factory.mktemp("bin")
    command = folder / "atc"
    command.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, strict_atc.__file__])} "$@"\n')
    command.chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def _network(pictures: Path) -> tuple[object, ...]:
    return "--dataset", pictures, "--ckpt", CHECKPOINT, "--model", "resnet8", "--calib-images", 16


@pytest.fixture(scope="module")
def exported(pictures_in_chinese: Path, atc: dict[str, str], runs: Runs) -> tuple[Finished, Path]:
    """All formats that a CPU writes, in one run, and what atc makes of one."""
    forms = (
        "--export",
        "ascend,fakequant,onnx,mindir",
        "--soc-version",
        "Ascend310P3",
        "--no-bias-correction",
        "--json",
    )
    return runs.finished("ptq", *_network(pictures_in_chinese), *forms, output="结 果", env=atc)


def test_all_formats_come_from_one_run(exported: tuple[Finished, Path]) -> None:
    done, output = exported
    assert sorted(path.name for path in output.iterdir()) == [
        "amctq.log",
        "calibration_record.txt",
        "config.json",
        "report.html",
        "report.json",
        "resnet8_quant.mindir",
        "resnet8_quant.onnx",
        "resnet8_quant_deploy.om",
        "resnet8_quant_deploy.onnx",
        "resnet8_quant_fakequant.onnx",
    ]
    assert list(done.data["files"]) == ["ascend", "fakequant", "onnx", "mindir"]
    assert done.data["quantization"]["placement"] == "ascend"


def test_every_file_is_run_and_names_the_qdq_graphs_classes(exported: tuple[Finished, Path]) -> None:
    data = exported[0].data
    assert data["accuracy"]["file"] == "resnet8_quant.onnx"
    for form in ("ascend", "fakequant"):
        agreement = data["files"][form]["agreement"]
        assert agreement["images"] == IMAGES
        assert agreement["argmax_differences"] <= 1
        assert agreement["top1"] == pytest.approx(data["accuracy"]["int8"]["top1"], abs=1)
        assert f"{data['files'][form]['name']} equals the QDQ graph" in {check["name"] for check in data["checks"]}
    assert "agreement" not in data["files"]["onnx"]
    assert data["files"]["ascend"]["ratio"] < 0.4
    assert data["files"]["fakequant"]["ratio"] == pytest.approx(1, abs=0.1)


def test_the_command_in_the_report_is_one_that_atc_takes(
    exported: tuple[Finished, Path], atc: dict[str, str], tmp_path: Path
) -> None:
    """Typed by hand beside a copy of the file, it makes the file that amctq has made."""
    done, output = exported
    told = done.data["atc"]
    assert told["soc_version"] == "Ascend310P3"
    assert told["om"]["bytes"] == (output / "resnet8_quant_deploy.om").stat().st_size
    (tmp_path / "resnet8_quant_deploy.onnx").write_bytes((output / "resnet8_quant_deploy.onnx").read_bytes())
    subprocess.run(told["command"], shell=True, cwd=tmp_path, env=os.environ | atc, check=True, capture_output=True)
    assert (tmp_path / told["om"]["name"]).read_bytes() == (output / told["om"]["name"]).read_bytes()
    assert {Path(item["path"]).name for item in done.envelope["artifacts"]} >= {told["om"]["name"]}


def test_the_deploy_file_holds_the_record(exported: tuple[Finished, Path]) -> None:
    record = load_record(exported[1] / "calibration_record.txt")
    layers = read_back(onnx.load(exported[1] / "resnet8_quant_deploy.onnx"))
    assert list(layers) == [entry.name for entry in record.layers]
    for entry in record.layers:
        found = layers[entry.name]
        assert found.scale_d == pytest.approx(entry.activation.scale, rel=1e-7)
        assert found.offset_d == entry.activation.offset
        assert found.scale_w == pytest.approx(entry.weight_scale, rel=1e-6)


def test_evaluate_recognises_a_deploy_file(exported: tuple[Finished, Path], pictures: Path) -> None:
    path = exported[1] / "resnet8_quant_deploy.onnx"
    done = amctq("evaluate", "--dataset", pictures, "--onnx", path, "--json")
    assert done.code == 0, done.stderr
    expected = exported[0].data["files"]["ascend"]["agreement"]
    assert {key: done.data["accuracy"][key] for key in ("images", "top1", "top5")} == {
        key: expected[key] for key in ("images", "top1", "top5")
    }
    assert "warning" not in done.stderr  # of products that saturate: these do not


def test_evaluate_says_what_it_cannot_run(exported: tuple[Finished, Path], pictures: Path) -> None:
    model = onnx.load(exported[1] / "resnet8_quant_deploy.onnx")
    model.graph.node[0].op_type = "AscendRequant"
    onnx.save(model, "other.onnx")
    done = amctq("evaluate", "--dataset", pictures, "--onnx", "other.onnx", "--json")
    assert done.code == 3, done.stderr
    message = done.envelope["errors"][0]["message"]
    assert "other.onnx" in message
    assert "AscendRequant" in message


def test_a_model_that_atc_refuses_is_not_published(pictures: Path, atc: dict[str, str]) -> None:
    options = ("--export", "ascend", "--soc-version", "Ascend999", "--eval-images", 8)
    done = ptq(_network(pictures), *options, code=5, env=atc)
    (error,) = done.envelope["errors"]
    assert "E10001: Value [Ascend999]" in error["message"]
    assert "--soc-version" in error["hint"]
    assert any("E10001" in line for line in done.data["atc"]["log"])
    assert done.data["accuracy"]["file"] == "resnet8_quant_deploy.onnx"
    assert "images_per_second" not in done.data["timing"]  # of an NPU, which is not here
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    ("command", "options", "code", "says"),
    [
        ("ptq", ["--export", "ascend", "--soc-version", "Ascend310P3"], 4, "atc is not on PATH"),
        ("qat", ["--export", "ascend", "--soc-version", "Ascend310P3"], 4, "atc is not on PATH"),
        ("ptq", ["--soc-version", "Ascend310P3"], 2, "no deploy file"),
        ("ptq", ["--export", "ascend", "--soc-version", "310 P3"], 2, "expected the name of a chip"),
    ],
)
def test_a_chip_needs_atc_and_a_file(command: str, options: list[str], code: int, says: str, pictures: Path) -> None:
    done = amctq_here(command, *_network(pictures), *options, "--json", env={"PATH": "/usr/bin:/bin"})
    assert done.code == code, done.stderr
    assert says in done.envelope["errors"][0]["message"]
    assert not list(Path().iterdir())


def test_retrained_networks_are_exported_for_npus_too(pictures: Path, atc: dict[str, str]) -> None:
    options = ["--export", "ascend,fakequant", "--soc-version", "Ascend310P3", "--max-steps", 1, "--batch-size", 16]
    done = amctq("qat", *_network(pictures), *options, "--air", "small", "--eval-images", 0, "--json", env=atc)
    assert done.code == 0, done.stderr
    data = done.data
    names = {path.name for path in Path("retrain_result").iterdir()}
    assert names >= {"small_deploy.onnx", "small_deploy.om", "small_fakequant.onnx"}
    assert data["files"]["ascend"]["agreement"]["argmax_differences"] <= 1
    assert "top1" not in data["files"]["ascend"]["agreement"]  # calibration images measure nothing
    assert data["atc"]["om"]["name"] == "small_deploy.om"


def test_people_are_told_the_command(exported: tuple[Finished, Path]) -> None:
    report = exported[0].data
    not_run = report["atc"] | {"exit_code": None, "om": None}
    one, two, command = file_rows(report | {"atc": not_run})
    assert one[0] == "ascend"
    assert one[1].startswith("resnet8_quant_deploy.onnx: top-1 ")
    assert two[0] == "fakequant"
    assert two[1].startswith("resnet8_quant_fakequant.onnx: top-1 ")
    assert "atc --model=resnet8_quant_deploy.onnx --framework=5" in command[1]
    assert list(file_rows(report))[2][1].startswith("resnet8_quant_deploy.om, ")
    refused = report["atc"] | {"exit_code": 1, "om": None, "log": ["E10001: no such chip"]}
    assert list(file_rows(report | {"atc": refused}))[3] == ("atc says", "E10001: no such chip")


def test_a_record_of_pytorch_gives_the_same_files(exported: tuple[Finished, Path], pictures: Path) -> None:
    """AMCT's other front ends name layers otherwise, and say more of each."""
    text = (exported[1] / "calibration_record.txt").read_text()
    text = text.replace('"end_point"', '"fc"').replace('key: "layer', 'key: "module.layer')
    Path("record.txt").write_text(text.replace("  value {\n", '  value {\n    dst_type: "INT8"\n'))
    done = ptq(_network(pictures), "--record", "record.txt", "--export", "onnx,ascend", "--eval-images", 0)
    assert done.data["quantization"]["from"] == "record"
    for name in ("resnet8_quant.onnx", "resnet8_quant_deploy.onnx", "calibration_record.txt"):
        assert (Path("results") / name).read_bytes() == (exported[1] / name).read_bytes(), name


@pytest.mark.slow
@pytest.mark.parametrize("model", ["resnet20", "resnet56"])
def test_on_all_images_the_class_is_the_qdq_files(model: str, shared: Shared) -> None:
    """At least 99.8 % of 10,000 images, of both kinds of files."""
    options = ["--calib-images", "320", "--batch-size", "200", "--export", "onnx,ascend,fakequant"]
    data = ptq(shared.network(model), *options, timeout=3600).data
    for form in ("ascend", "fakequant"):
        agreement = data["files"][form]["agreement"]
        assert agreement["images"] == 10_000
        assert agreement["argmax_differences"] <= 20
        assert agreement["top1"] == pytest.approx(data["accuracy"]["int8"]["top1"], abs=0.2)
