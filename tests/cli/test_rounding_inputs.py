"""What GPTQ and bias correction make of inputs that say little or too much, through the command, and when stopped."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.command import NETWORKS, Shared, plain_environment
from tests.runs import ptq

Changed = Callable[[dict[str, Any]], None]
CHECKED = ("--allow-poor-float", "--calib-images", 8, "--eval-images", 40, "--batch-size", 8)


def _network(factory: str, change: Changed, *, largest: float = 2.0) -> tuple[object, ...]:
    """A network of tests/backends/networks.py with random weights and images, and a change of its parameters."""
    import mindspore

    from tests.backends import networks

    mindspore.set_seed(0)
    cell = getattr(networks, factory)(num_classes=10)
    values = {name: item.asnumpy().copy() for name, item in cell.parameters_dict().items()}
    change(values)
    parameters = [{"name": name, "data": mindspore.Tensor(value)} for name, value in values.items()]
    mindspore.save_checkpoint(parameters, "changed.ckpt")
    random = np.random.default_rng(0)
    images = random.uniform(-largest, largest, (64, 3, 32, 32)).astype(np.float32)
    np.savez("images.npz", images=images, labels=random.integers(0, 10, 64))
    return "--model", f"{NETWORKS}:{factory}", "--ckpt", "changed.ckpt", "--dataset", "images.npz"


def _singular(values: dict[str, Any]) -> None:
    """What conv2 reads: a channel of zeros, one constant, two that are equal."""
    weight, bias, gamma, beta = (values[name] for name in ("conv1.weight", "conv1.bias", "bn1.gamma", "bn1.beta"))
    weight[:2], bias[:2], gamma[:2] = 0, 0, 1
    beta[0], beta[1] = -1, 2
    weight[3], bias[3] = weight[2], bias[2]


def _large(values: dict[str, Any]) -> None:
    """What conv2 reads: numbers whose squares and sums are beyond float32."""
    for name in ("bn1.gamma", "bn1.beta"):
        values[name] = values[name] * np.float32(2e37)
    for name in ("conv2.weight", "depthwise.weight"):
        values[name] = values[name] * np.float32(1e-30)


def _nothing(values: dict[str, Any]) -> None:
    """What conv2 reads: zeros."""
    values["bn1.gamma"][:], values["bn1.beta"][:] = 0, -1


@pytest.mark.parametrize(
    ("change", "options"),
    [
        pytest.param(_singular, ("--weight-bits", 4), id="singular"),
        pytest.param(_large, ("--weight-bits", 4), id="large"),
        pytest.param(_nothing, ("--weight-bits", 3, "--placement", "ascend"), id="nothing"),
    ],
)
def test_inputs_without_information_and_beyond_squares(change: Changed, options: tuple[object, ...]) -> None:
    done = ptq(_network("small", change), *CHECKED, *options)
    assert all(check["passed"] for check in done.data["checks"])
    assert "RuntimeWarning" not in done.stderr


def test_a_range_that_float32_does_not_have_is_refused_with_its_tensor() -> None:
    def quiet(values: dict[str, Any]) -> None:
        values["conv1.weight"] = values["conv1.weight"] * np.float32(1e-30)

    done = ptq(_network("small", quiet, largest=2e38), *CHECKED, code=3)
    (error,) = done.envelope["errors"]
    assert error["message"].startswith("the input of conv1 comes close to the largest float32")
    assert "RuntimeWarning" not in done.stderr
    assert not Path("results").exists()


def test_one_image_is_enough_and_gives_the_same_bytes_twice(shared: Shared) -> None:
    few = ("--weight-bits", 4, "--calib-images", 1, "--eval-images", 400, "--batch-size", 100)
    for name in ("first", "second"):
        data = ptq(shared.network("resnet20"), *few, "--output-dir", name).data
    assert data["accuracy"]["top1_drop"] <= 2
    for name in ("resnet20_quant.onnx", "calibration_record.txt", "placement.json", "config.json"):
        assert (Path("first") / name).read_bytes() == (Path("second") / name).read_bytes()


def test_a_layer_of_too_many_inputs_is_rounded_alone_and_named() -> None:
    done = ptq(_network("wide", lambda _: None), *CHECKED, "--weight-bits", 4)
    (warning,) = [text for text in done.data["warnings"] if "GPTQ takes" in text]
    assert warning.startswith("end_point: 16,384 weights for each channel")
    assert all(check["passed"] for check in done.data["checks"])


STOPPED = """
import os, signal
from amctq.backends import rounded_weights
gptq = rounded_weights.gptq

def stopped(*arguments, **options):
    os.kill(os.getpid(), signal.{name})
    return gptq(*arguments, **options)

rounded_weights.gptq = stopped
from amctq.__main__ import main
main()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_stopped_while_it_rounds_leaves_nothing(number: signal.Signals) -> None:
    network = _network("small", _singular)
    before = {path.name for path in Path().iterdir()}
    command = ["ptq", *map(str, (*network, *CHECKED)), "--weight-bits", "4", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", STOPPED.format(name=number.name), *command],
        capture_output=True,
        env=plain_environment(),
        timeout=120,
        check=False,
        text=True,
    )
    assert done.returncode == 128 + number, done.stderr
    assert json.loads(done.stdout)["exit_code"] == 128 + number
    assert "Traceback" not in done.stderr
    assert {path.name for path in Path().iterdir()} == before
