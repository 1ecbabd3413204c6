"""What people are told of a run: what it is called, how fast it was, and what to try when it has failed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from amctq.cli.measured import speed_rows
from amctq.data.inputs import Inputs
from amctq.inference.session import Outputs, Session
from amctq.inference.speed import compare_speed, is_busy
from amctq.pretrained import CHECKPOINT
from amctq.services.run import report
from amctq.services.run.verdict import width_name
from tests.arrays import image
from tests.command import Own, amctq_here

FAILING = ("--allow-poor-float", "--max-drop", "-100", "--eval-images", 16, "--calib-images", 8, "--batch-size", 8)


@pytest.mark.parametrize(
    ("widths", "name"),
    [
        ([8, 8], "INT8"),
        ([4, 4], "INT4 weights"),
        ([8, 4, 4], "INT4 and INT8 weights"),
        ([8, 3, 4, 6], "INT3 to INT8 weights"),
        ([7], "INT7 weights"),
        ([], "INT8"),
    ],
)
def test_a_run_is_called_by_its_weights(widths: list[int], name: str) -> None:
    assert width_name({"layers": [{"weight_bits": width} for width in widths]}) == name


def test_a_run_of_4_bits_is_headed_so_and_told_of_wider_weights(pictures: Path) -> None:
    network = ("--dataset", pictures, "--ckpt", CHECKPOINT, "--model", "resnet8")
    done = amctq_here("ptq", *network, "--weight-bits", 4, *FAILING)
    assert done.code == 5, done.stderr
    assert done.stdout.startswith("failed: --max-drop: drop ")
    assert "; resnet8, INT4 weights: top-1 " in done.stdout.splitlines()[0]
    assert "INT8" not in done.stdout + done.stderr
    assert "try --weight-bits 8, 7 or 6, or wider weights for some layers by --layer-bits, more" in done.stderr
    wide = amctq_here("ptq", *network, *FAILING, "--json")
    assert "--weight-bits" not in wide.envelope["errors"][0]["hint"]


class Slow(Session):
    """Takes as many ticks as it is told, run by run."""

    def __init__(self, ticks: list[float], clock: list[float]) -> None:
        self._ticks, self._clock = iter([0.0, *ticks]), clock

    def run(self, inputs: Inputs) -> Outputs:
        self._clock[0] += next(self._ticks)
        return ()


@pytest.mark.parametrize(("ticks", "busy"), [([1.0, 1.1, 1.0], False), ([1.0, 1.0, 1.6], True)])
def test_a_speed_has_its_spread(ticks: list[float], busy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("amctq.inference.speed.time.perf_counter", lambda: clock[0])
    images = np.zeros((10, 1), np.float32)
    speed = compare_speed(Slow([2.0, 2.0, 2.0], clock), Slow(ticks, clock), image(images), rounds=3)
    assert speed.float32_range == pytest.approx((5.0, 5.0))
    assert speed.int8_range == pytest.approx((10 / max(ticks), 10.0))
    assert speed.busy == busy
    assert is_busy(speed.int8_range) == busy
    told = report.speed("net.onnx", speed) | {"note": None}
    rows = [("busy machine", "images/s are the median of 3 runs: float 5 to 5, INT8 6 to 10")]
    assert list(speed_rows(told, ("float", "INT8"))) == (rows if busy else [])


def test_evaluate_gives_the_spread_of_its_batches(own: Own) -> None:
    network = own.network("small")
    done = amctq_here("evaluate", *network, "--batch-size", 4, "--json")
    assert done.code == 0, done.stderr
    timing = done.data["timing"]
    low, high = timing["images_per_second_range"]
    assert 0 < low <= high
    assert timing["busy"] == is_busy((low, high)) or high / low == pytest.approx(1.25, rel=0.01)
