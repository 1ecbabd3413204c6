"""``amctq ptq --weight-bits auto``: a width for each layer, within a size or within a drop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.command import Finished, Shared, amctq_here
from tests.runs import Runs, ptq

AUTO = ("--weight-bits", "auto")
FEW = ("--calib-images", 32, "--tuning-images", 64, "--eval-images", 100)
SIZE = 106_210  # what 3 bits everywhere take


@pytest.fixture(scope="session")
def outcome(shared: Shared, runs: Runs) -> tuple[Finished, Path]:
    """resnet20 in the size of 3 bits."""
    return runs.finished("ptq", *shared.network("resnet20"), *FEW, *AUTO, "--max-size", SIZE, "--json")


def _tries(bits: dict[str, Any], what: str) -> list[dict[str, Any]]:
    return [found for found in bits["tries"] if found["what"] == what]


def test_layers_get_widths_of_their_own_within_the_size(outcome: tuple[Finished, Path]) -> None:
    data, folder = outcome[0].data, outcome[1]
    bits, layers = data["bits"], data["quantization"]["layers"]
    assert bits["chosen"] == {layer["name"]: layer["weight_bits"] for layer in layers}
    assert len(set(bits["chosen"].values())) > 1
    assert set(bits["chosen"].values()) <= set(bits["candidates"]) == {2, 3, 4, 6, 8}
    assert bits["max_size"] == bits["uniform"]["3"] == SIZE
    assert 0.98 * SIZE < bits["size"] <= SIZE
    assert bits["seed"] == data["data"]["seed"] == 1
    assert bits["tuning_samples"] == data["data"]["tuning"]["images"] == 64
    # The first convolution is small, and all that follows depends on it.
    assert bits["chosen"]["conv1"] >= 6
    assert "calibration_record.txt" not in {path.name for path in folder.iterdir()}
    assert any("2 and 3 bits" in warning for warning in data["warnings"])


def test_the_size_is_that_of_the_integers_in_the_file(outcome: tuple[Finished, Path]) -> None:
    data, folder = outcome[0].data, outcome[1]
    model = onnx.load(folder / "resnet20_quant.onnx")
    arrays = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    size = 0
    for name, width in data["bits"]["chosen"].items():
        values, scale = arrays[f"{name}.weight.q"], arrays[f"{name}.weight.scale"]
        values = values.astype(int) - (128 if values.dtype == np.uint8 else 0)
        assert values.min() >= -(2 ** (width - 1))
        assert values.max() < 2 ** (width - 1)
        bias = arrays[f"{name}.bias.q"]
        if name != "conv1":  # it is rewritten for speed
            assert values.size * width % 8 == 0
        size += 432 * width // 8 if name == "conv1" else values.size * width // 8
        size += 4 * (scale.size + bias.size)
    assert size == data["bits"]["size"]


def test_it_is_nearer_to_float_than_one_width(outcome: tuple[Finished, Path]) -> None:
    bits = outcome[0].data["bits"]
    (chosen,) = [found for found in bits["tries"] if found["chosen"]]
    (uniform,) = _tries(bits, "uniform")
    assert chosen["what"] == "knapsack"
    assert uniform["size"] == SIZE
    assert chosen["expected_cost"] < 0.8 * uniform["expected_cost"]
    assert chosen["cost"] < uniform["cost"]
    # The narrowest and the widest weights: no choice is worse, and none is better.
    costs = [found["cost"] for found in bits["tries"]]
    assert costs[0] == max(costs)
    assert costs[-1] == min(costs)


def test_the_frontier(outcome: tuple[Finished, Path]) -> None:
    data, folder = outcome[0].data, outcome[1]
    points, bits = data["frontier"], data["bits"]
    assert [point["bytes"] for point in points] == sorted(point["bytes"] for point in points)
    assert sum(point["chosen"] for point in points) == 1
    assert next(point["bytes"] for point in points if point["chosen"]) == bits["size"]
    assert points[0]["bytes"] == bits["uniform"]["2"]
    assert points[0]["expected_drop"] > points[-1]["expected_drop"]
    assert sum(point["measured_drop"] is not None for point in points) == len(bits["tries"])
    assert 'id="frontier"' in (folder / "report.html").read_text(encoding="utf-8")


def test_the_same_seed_gives_the_same_bytes(outcome: tuple[Finished, Path], shared: Shared) -> None:
    done = ptq(shared.network("resnet20"), *FEW, *AUTO, "--max-size", SIZE)
    for name in ("resnet20_quant.onnx", "config.json", "placement.json"):
        assert (Path("results") / name).read_bytes() == (outcome[1] / name).read_bytes()
    assert done.data["bits"] == outcome[0].data["bits"]
    assert done.data["frontier"] == outcome[0].data["frontier"]


def test_the_configuration_gives_the_same_widths_again(outcome: tuple[Finished, Path], shared: Shared) -> None:
    config = outcome[1] / "config.json"
    written = json.loads(config.read_text())
    chosen = outcome[0].data["bits"]["chosen"]
    assert {name: written[name]["weight_quant_params"]["num_bits"] for name in chosen} == chosen
    done = ptq(shared.network("resnet20"), *FEW[:2], *FEW[4:], "--config", config)
    before, after = (
        {layer["name"]: layer for layer in data["quantization"]["layers"]} for data in (outcome[0].data, done.data)
    )
    assert {name: layer["weight_bits"] for name, layer in after.items()} == chosen
    convolutions = [name for name in chosen if name != "end_point"]  # AMCT's file has one scale for a Dense
    for name in convolutions:
        assert after[name]["scale_w_min"] == before[name]["scale_w_min"]
        assert after[name]["scale_w_max"] == before[name]["scale_w_max"]


def test_a_drop_on_tuning_samples_sets_the_size(shared: Shared) -> None:
    drop = ("--calib-images", 32, "--tuning-images", 200, "--eval-images", 100)
    data = ptq(shared.network("resnet20"), *drop, *AUTO, "--max-drop", 5).data
    bits = data["bits"]
    assert (bits["max_size"], bits["max_drop"]) == (None, 5.0)
    (chosen,) = [found for found in bits["tries"] if found["chosen"]]
    assert chosen["measured_drop"] <= 5
    smaller = [found for found in _tries(bits, "bisection") if found["size"] < chosen["size"]]
    assert smaller
    assert all(found["measured_drop"] > 5 for found in smaller)
    assert bits["size"] < bits["uniform"]["4"]
    assert any(check["name"] == "max drop" or "drop" in check["name"] for check in data["checks"])


def test_files_for_npus_have_amcts_widths(shared: Shared) -> None:
    options = ("--calib-images", 16, "--tuning-images", 16, "--eval-images", 0, "--target", "ascend")
    data = ptq(shared.network("resnet20"), *options, *AUTO, "--max-size", "0.2").data
    assert data["bits"]["candidates"] == [4, 6, 8]
    assert (Path("results") / "calibration_record.txt").is_file()


def test_int4_storage_counts_as_the_file_stores(shared: Shared) -> None:
    options = ("--calib-images", 16, "--tuning-images", 16, "--eval-images", 0, "--weight-storage", "int4")
    data = ptq(shared.network("resnet20"), *options, *AUTO, "--max-size", "0.18").data
    uniform = data["bits"]["uniform"]
    assert set(uniform) == {"4", "8"}  # 2 and 3 bits take as much as 4, and 6 as much as 8
    assert 1.9 < uniform["8"] / uniform["4"] < 2
    assert set(data["bits"]["chosen"].values()) == {4, 8}


def test_a_dry_run_says_that_widths_are_chosen(shared: Shared) -> None:
    done = amctq_here("ptq", *shared.network("resnet20"), *AUTO, "--max-size", "0.2", "--dry-run", "--json")
    assert done.code == 0, done.stderr
    assert {layer["weight_bits"] for layer in done.data["layers"]} == {"auto"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (AUTO, ("--max-size", "--max-drop")),
        (("--max-size", "0.2"), ("--weight-bits auto",)),
        ((*AUTO, "--max-size", "0"), ("--max-size", "expected")),
        ((*AUTO, "--max-size", "1.5"), ("--max-size", "expected")),
        ((*AUTO, "--max-size", "nan"), ("--max-size", "expected")),
        ((*AUTO, "--max-size", "much"), ("much", "share")),
        ((*AUTO, "--max-size", "0.2", "--layer-bits", "conv1=8"), ("--layer-bits", "--weight-bits auto")),
        ((*AUTO, "--max-size", "0.2", "--config", "c.json"), ("--config", "--weight-bits")),
        ((*AUTO, "--max-size", "0.2", "--record", "r.txt"), ("--record", "--weight-bits")),
        ((*AUTO, "--max-size", "0.2", "--backend", "amct"), ("--backend amct", "8 bits")),
        ((*AUTO, "--max-size", "0.2", "--target", "mslite"), ("mslite", "--weight-bits auto")),
        ((*AUTO, "--max-drop", "1", "--eval-images", "0"), ("--max-drop", "--eval-images 0")),
        (("--weight-bits", "many"), ("many",)),
    ],
)
def test_refused_before_any_work(shared: Shared, options: tuple[str, ...], said: tuple[str, ...]) -> None:
    done = amctq_here("ptq", *shared.network("resnet20"), *options)
    assert done.code == 2, done.stderr
    assert all(word in done.stderr for word in said), done.stderr


@pytest.mark.parametrize("size", [72_667, "0.05", "1K"])
def test_below_the_smallest_size_it_is_told(shared: Shared, size: object) -> None:
    done = amctq_here("ptq", *shared.network("resnet20"), *FEW, *AUTO, "--max-size", size)
    assert done.code == 2, done.stderr
    assert "72,668 bytes" in done.stderr
    assert "--max-size 72668" in done.stderr
    assert not Path("results").exists() or not any(Path("results").iterdir())


@pytest.mark.parametrize("command", ["qat", "analyze"])
def test_only_ptq_chooses(shared: Shared, command: str) -> None:
    train = ("--train-dataset", shared.data) if command == "qat" else ("--dataset", shared.data)
    done = amctq_here(command, *shared.network("resnet20")[2:], *train, *AUTO)
    assert done.code == 2, done.stderr
    assert "auto" in done.stderr
    assert "ptq" in done.stderr


def test_too_few_images_for_three_roles(shared: Shared) -> None:
    random = np.random.default_rng(0)
    images = random.normal(size=(8, 3, 32, 32)).astype(np.float32)
    np.savez("few.npz", images=images, labels=random.integers(0, 10, 8))
    network = shared.network("resnet20", "few.npz")
    options = ("--calib-images", 4, "--eval-images", 4, *AUTO, "--max-size", "0.2", "--allow-poor-float")
    done = amctq_here("ptq", *network, *options)
    assert done.code == 3, done.stderr
    assert "none is left" in done.stderr
