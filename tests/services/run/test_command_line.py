"""The command line of a request makes the same request."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import amctq
from amctq.choices import ActAlgo, ExportFormat, LrDecay, Placement
from amctq.cli.app import COMMANDS
from amctq.cli.from_request import make_request
from amctq.services.option import Request
from amctq.services.run.command_line import command_line

PTQ = amctq.PtqRequest(dataset="data", ckpt=Path("a b.ckpt"), model="resnet20")
QAT = amctq.QatRequest(dataset="数据", ckpt=Path("net.ckpt"))


def _asked(words: list[str]) -> Request:
    command: Any = COMMANDS[words[1]]
    context = command.typer_command().make_context(words[1], words[2:])
    fields = command.request().options()
    return make_request(command.request(), {name: value for name, value in context.params.items() if name in fields})


@pytest.mark.parametrize(
    "request_",
    [
        PTQ,
        replace(PTQ, calib_images=64, eval_images=0, seed=3, act_algo=ActAlgo.MSE, float_head=True),
        replace(PTQ, export=(ExportFormat.ONNX, ExportFormat.MINDIR), skip_layers=("conv1", "layer*"), max_drop=0.5),
        replace(PTQ, layer_bits=(("stem=x", 8), ("b", 4)), mean=(0.5, 0.25, 0.125), bias_correction=False),
        replace(PTQ, bias_correction=True, placement=Placement.ORT, metric="own.py:score", device_id=2),
        replace(PTQ, ckpt=None, model="net.onnx", inputs=(("x", (3, 48, 320)),), per_tensor=True),
        QAT,
        replace(QAT, lr_max=1e-3, lr_decay=LrDecay.COSINE, epochs=2, distill=True, weight_decay=0.0),
        amctq.EvaluateRequest(dataset="data", onnx=Path("net.onnx"), eval_images=40),
    ],
    ids=lambda request: " ".join(command_line(type(request).__name__, request))[-60:],
)
def test_it_makes_the_same_request(request_: Request) -> None:
    name = {amctq.PtqRequest: "ptq", amctq.QatRequest: "qat", amctq.EvaluateRequest: "evaluate"}[type(request_)]
    assert _asked(list(command_line(name, request_))) == request_


def test_it_says_nothing_of_where_files_go() -> None:
    one, two = (list(command_line("ptq", replace(PTQ, output_dir=Path(name), force=True))) for name in "ab")
    assert one == two == ["amctq", "ptq", "--dataset", "data", "--ckpt", "a b.ckpt", "--model", "resnet20"]
