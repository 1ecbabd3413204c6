"""``amctq.ptq`` as a program of one's own calls it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import amctq
from amctq.choices import Device, ExportFormat
from amctq.errors import UsageError
from amctq.files import sha256_of
from amctq.pretrained import CHECKPOINT
from amctq.progress import Event, Notice


@pytest.fixture
def request_(pictures: Path) -> amctq.PtqRequest:
    """A small one."""
    return amctq.PtqRequest(
        dataset=pictures, ckpt=CHECKPOINT, model="resnet8", calib_images=8, device=Device.CPU, output_dir=Path("out")
    )


def test_the_result_names_the_files_and_what_they_are_worth(request_: amctq.PtqRequest, pictures: Path) -> None:
    events: list[Event] = []
    result = amctq.ptq(request_, events.append)
    assert {item.path for item in result.artifacts} == set(Path("out").iterdir())
    assert all(item.sha256 == sha256_of(item.path) for item in result.artifacts)
    assert any(isinstance(event, Notice) and "s to go" in event.text for event in events)
    told = json.loads(Path("out/report.json").read_text())["accuracy"]["int8"]
    file = Path("out/resnet8_quant.onnx")
    measured = amctq.evaluate(amctq.EvaluateRequest(dataset=pictures, onnx=file, device=Device.CPU))
    assert measured.data()["accuracy"]["top1"] == told["top1"] > 80
    with pytest.raises(UsageError, match=r"resnet8_quant\.onnx"):
        amctq.ptq(request_)


def test_a_preview_writes_nothing(request_: amctq.PtqRequest) -> None:
    preview = amctq.preview_ptq(replace(request_, export=(ExportFormat.ONNX, ExportFormat.ASCEND))).data()
    assert (preview["calibration_images"], preview["evaluation_images"]) == (8, 64)
    names = {Path(name).name for name in preview["files"]}
    assert {"resnet8_quant.onnx", "resnet8_quant_deploy.onnx", "report.json"} <= names
    assert not list(Path.cwd().iterdir())
