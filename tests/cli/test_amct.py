"""``--backend amct`` from end to end, on a machine whose NPU and whose AMCT are stand-ins."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from amctq.amct_files.record_text import load_record
from amctq.pretrained import CHECKPOINT
from tests.amct.standin_path import on_an_npu
from tests.command import amctq
from tests.runs import ptq


def test_ptq_collects_what_amct_writes_and_tells_what_was_not_run(pictures: Path) -> None:
    Path("net.ckpt").symlink_to(CHECKPOINT)  # a relative path, though AMCT's calls have another current directory
    network = ("--dataset", pictures, "--ckpt", "net.ckpt", "--model", "resnet8")
    done = ptq(network, env=on_an_npu())
    names = {path.name for path in Path("results").iterdir()}
    assert names == {
        *("resnet8_quant.air", "config.json", "calibration_record.txt", "amct_mindspore.log"),
        *("report.json", "report.html", "amctq.log"),
    }
    assert {Path(item["path"]).name for item in done.envelope["artifacts"]} == names
    assert {path.name for path in Path().iterdir()} == {"net.ckpt", "results"}
    report = json.loads(Path("results/report.json").read_text())
    assert report == done.envelope["data"]
    quantization = report["quantization"]
    assert (quantization["backend"], quantization["backend_reason"]) == ("amct", "amct_mindspore and an NPU are here")
    assert (quantization["ifmr_variant"], quantization["placement"]) == (None, "ascend")
    assert report["not_run"] == ["resnet8_quant.air"]
    assert report["accuracy"]["file"] == "ONNX graph on the same scales, not among the files"
    assert report["accuracy"]["int8"]["top1"] > 80
    assert "images_per_second" not in report["timing"], "the speed of a graph that is not among the files says nothing"
    assert len(load_record(Path("results/calibration_record.txt")).layers) == len(quantization["layers"])

    again = ptq(network, code=2, env=on_an_npu())
    assert "amct_mindspore.log" in again.stderr


def test_adaround_is_refused_before_amct_is_called(pictures: Path) -> None:
    """Its MindSpore front end has no such algorithm, and GPTQ cannot answer for what AMCT computes itself."""
    Path("ada.cfg").write_text("common_config { ada_quantize { num_iteration: 300 } }")
    network = ("--dataset", pictures, "--ckpt", CHECKPOINT, "--model", "resnet8")
    done = ptq(network, "--config", "ada.cfg", code=3, env=on_an_npu())
    (error,) = done.envelope["errors"]
    assert "amct_mindspore has ifmr, arq, 8 bits" in error["message"]
    assert "--backend native" in error["hint"]
    assert not Path("results").exists()


def test_doctor_knows_amct() -> None:
    found = amctq("doctor", "--json", "--require", "amct", env=on_an_npu())
    assert found.code == 0
    assert found.envelope["data"]["findings"]["amct"]["value"] == "amct_mindspore and an NPU: --backend auto takes it"


@pytest.mark.slow
def test_qat_trains_amcts_network_and_gives_no_figure_for_the_file(pictures: Path) -> None:
    Path("net.ckpt").symlink_to(CHECKPOINT)  # a relative path, though AMCT's calls have another current directory
    arguments = ("qat", "--dataset", pictures, "--ckpt", "net.ckpt", "--model", "resnet8", "--epochs", "1")
    done = amctq(*arguments, "--batch-size", "16", "--backend", "amct", "--json", env=on_an_npu())
    assert done.code == 0, done.stderr
    names = {path.name for path in Path("retrain_result").iterdir()}
    assert names == {
        *("resnet8_quant_retrain.air", "retrain_quant_config.json", "calibration_record.txt", "amct_mindspore.log"),
        *("report.json", "report.html", "amctq.log", "history.jsonl", "checkpoints"),
    }
    report = done.envelope["data"]
    assert report["not_run"] == ["resnet8_quant_retrain.air"]
    accuracy = report["accuracy"]
    assert (accuracy["file"], accuracy["int8"]) == (None, None)
    assert min(accuracy[stage]["top1"] for stage in ("float", "ptq", "training_network")) > 80
    assert {check["name"] for check in report["checks"]} == {
        "float graph equals MindSpore",
        "training network top-1 at least half of float",
    }
    assert any("not run" in warning for warning in report["warnings"])
