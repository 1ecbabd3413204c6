"""``amctq analyze`` and ``ptq --analyze``: which layers quantization harms."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amctq.choices import WEIGHT_BITS
from tests.cli import tasks
from tests.cli.planted import BAD, plant
from tests.command import Finished, Shared, amctq, amctq_here
from tests.runs import Runs, ptq

TASKS = Path(tasks.__file__)
FEW = ("--calib-images", 16, "--tuning-images", 24)


def _report(folder: str | Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(folder) / "report.json").read_text())
    return found


@pytest.fixture(scope="session")
def outcome(shared: Shared, runs: Runs) -> tuple[Finished, Path]:
    """resnet20 with weights of four bits."""
    arguments = ("analyze", *shared.network("resnet20"), *FEW, "--weight-bits", 4)
    return runs.finished(*arguments, "--json", output="analysis")


def test_only_the_report_and_the_log_are_written(outcome: tuple[Finished, Path]) -> None:
    done, folder = outcome
    assert sorted(path.name for path in folder.iterdir()) == ["amctq.log", "report.html", "report.json"]
    assert done.data == _report(folder)
    assert [Path(item["path"]).name for item in done.envelope["artifacts"]] == [
        "amctq.log",
        "report.json",
        "report.html",
    ]


def test_every_layer_is_there_the_worst_first(outcome: tuple[Finished, Path]) -> None:
    data = outcome[0].data
    layers = data["sensitivity"]
    assert len(layers) == len({layer["layer"] for layer in layers}) == 20
    assert data["analysis"]["order"] == "kl"
    assert [layer["kl"] for layer in layers] == sorted((layer["kl"] for layer in layers), reverse=True)
    assert {layer["operator"] for layer in layers} == {"Conv2d", "Dense"}
    assert (
        sum(layer["elements"] for layer in layers) == 268_336
    )  # convolutions and Dense; the rest is biases and BatchNorm
    assert data["data"]["calibration"]["images"] == 16
    assert data["data"]["tuning"]["images"] == data["analysis"]["samples"] == 24
    assert data["data"]["tuning"]["indices_sha256"] != data["data"]["calibration"]["indices_sha256"]


def test_the_layers_are_those_that_the_target_can_hold(shared: Shared) -> None:
    """AMCT stores two weights of 4 bits along C_in in a byte, and conv1 has three channels."""
    few = (*shared.network("resnet20"), *FEW, "--weight-bits", 4, "--target", "ascend", "--json")
    done = amctq_here("analyze", *few)
    assert done.code == 0, done.stderr
    assert {layer["layer"]: layer["weight_bits"] for layer in done.data["sensitivity"]}["conv1"] == 8
    assert any("conv1: weights of 8 bits instead of 4" in warning for warning in done.data["warnings"])


def test_figures_agree_with_each_other(outcome: tuple[Finished, Path]) -> None:
    data = outcome[0].data
    whole = data["analysis"]
    for layer in data["sensitivity"]:
        output, activation = layer["output"], layer["activation"]
        alone = min(output["weights_only_sqnr_db"], output["activations_only_sqnr_db"])
        assert output["sqnr_db"] <= alone + 0.5  # both errors are no less than one, but for what cancels
        assert output["accumulated_sqnr_db"] <= output["sqnr_db"] + 1
        assert layer["sqnr_db"] > whole["sqnr_db"] - 1
        assert 0.9 < output["accumulated_cosine"] <= 1
        assert layer["weight_bits"] == 4
        assert layer["weights"]["min"] < 0 < layer["weights"]["max"]
        assert activation["min"] <= activation["max"]
        assert activation["clip_min"] <= 0 <= activation["clip_max"]
        assert 0 <= activation["clipped_share"] < 0.01
        assert layer["score_drop"] * 24 / 100 == pytest.approx(round(layer["score_drop"] * 24 / 100), abs=0.01)
        assert 0 <= layer["class_changes"] < 0.3
    # Without the worst layer the rest is nearer to float than all of them.
    left = [layer["left_in_float"]["sqnr_db"] for layer in data["sensitivity"]]
    assert max(left[:5]) > whole["sqnr_db"]
    assert np.median(left) == pytest.approx(whole["sqnr_db"], abs=1)


def test_ptq_measures_the_same(outcome: tuple[Finished, Path], shared: Shared) -> None:
    data = ptq(shared.network("resnet20"), *FEW, "--weight-bits", 4, "--eval-images", 50, "--analyze").data
    assert data["sensitivity"] == outcome[0].data["sensitivity"] == _report("results")["sensitivity"]
    assert data["analysis"] == outcome[0].data["analysis"]
    assert data["data"]["tuning"] == outcome[0].data["data"]["tuning"]


def test_a_layer_with_an_outlier_channel_is_named_first(shared: Shared) -> None:
    """Where a channel is 300 times as large and its weights behind it 300 times as small, the network is the same."""
    plant(shared, "bad.ckpt")
    network = ("--model", "resnet20", "--ckpt", "bad.ckpt", "--dataset", shared.data)
    done = amctq("analyze", *network, *FEW)
    assert done.code == 0, done.stderr
    layers = _report("analysis")["sensitivity"]
    assert layers[0]["layer"] == BAD
    assert layers[0]["activation"]["outlier_ratio"] > 50
    assert all(layer["activation"]["outlier_ratio"] < 10 for layer in layers[1:])
    assert layers[0]["output"]["activations_only_sqnr_db"] < layers[0]["output"]["weights_only_sqnr_db"] - 10
    rows = [line for line in done.stdout.splitlines() if "conv" in line]
    assert BAD in rows[0]
    # With placement ort the layer before it yields integers all the same, so that only the other placement gains.
    assert layers[0]["left_in_float"]["sqnr_db"] < _report("analysis")["analysis"]["sqnr_db"] + 3
    options = ("--placement", "ascend", "--output-dir", "ascend", "--json")
    data = amctq_here("analyze", *network, *FEW, *options).data
    assert data["sensitivity"][0]["layer"] == BAD
    assert data["sensitivity"][0]["left_in_float"]["sqnr_db"] > data["analysis"]["sqnr_db"] + 3


def _task(name: str, dataset: str, folder: Path, classes: int = 10) -> tuple[object, ...]:
    import mindspore

    mindspore.set_seed(1)
    mindspore.save_checkpoint(getattr(tasks, name)(), str(folder / f"{name}.ckpt"))
    network = ("--model", f"{TASKS}:{name}", "--ckpt", folder / f"{name}.ckpt", "--dataset", f"{TASKS}:{dataset}")
    return (*network, "--calib-images", 8, "--allow-poor-float", "--num-classes", classes, "--json")


def test_without_classes_the_error_of_the_outputs_counts(tmp_path: Path) -> None:
    done = amctq_here("analyze", *_task("two_outputs", "unlabelled", tmp_path))
    assert done.code == 0, done.stderr
    layers = done.data["sensitivity"]
    assert done.data["analysis"]["order"] == "sqnr_db"
    assert len(layers) == 4
    for key in ("kl", "class_changes", "score_drop"):
        assert all(layer[key] is None for layer in layers)
    ratios = [layer["sqnr_db"] for layer in layers]
    assert ratios == sorted(ratios)


def test_another_metric_says_what_each_layer_costs(tmp_path: Path) -> None:
    """The transposed convolution is the last layer: its input is a float at run time, and its weights are integers."""
    done = amctq_here("analyze", *_task("autoencoder", "itself", tmp_path), "--metric", "psnr")
    assert done.code == 0, done.stderr
    layers = {layer["layer"]: layer for layer in done.data["sensitivity"]}
    assert done.data["analysis"]["metric"]["key"] == "psnr"
    assert all(math.isfinite(layer["score_drop"]) for layer in layers.values())
    assert layers["up"]["output"]["activations_only_sqnr_db"] is None
    assert layers["up"]["activation"]["clip_max"] is None
    assert layers["up"]["output"]["weights_only_sqnr_db"] == layers["up"]["output"]["sqnr_db"]


def test_an_embedding_table_is_a_layer(tmp_path: Path) -> None:
    done = amctq_here("analyze", *_task("sentences", "words", tmp_path, 3))
    assert done.code == 0, done.stderr
    layers = {layer["layer"]: layer for layer in done.data["sensitivity"]}
    assert layers["embedding"]["operator"] == "Embedding"
    assert layers["embedding"]["activation"] is None
    assert layers["embedding"]["sqnr_db"] > 20
    assert {"dense", "end_point"} <= layers.keys()


def test_placement_ascend_and_a_record(outcome: tuple[Finished, Path], shared: Shared) -> None:
    ptq(shared.network("resnet20"), "--calib-images", 16, "--eval-images", 0, "--placement", "ascend")
    network = shared.network("resnet20")
    of_record = amctq_here("analyze", *network, *FEW, "--record", "results/calibration_record.txt", "--json")
    assert of_record.code == 0, of_record.stderr
    own = amctq_here(
        *("analyze", *network, *FEW, "--placement", "ascend", "--no-bias-correction", "--json", "--output-dir", "own")
    )
    names = [[layer["layer"] for layer in done.data["sensitivity"]] for done in (of_record, own)]
    assert sorted(names[0]) == sorted(names[1])
    assert of_record.data["quantization"]["placement"] == "ascend"
    assert {layer["weight_bits"] for layer in of_record.data["sensitivity"]} == {max(WEIGHT_BITS)}


def test_a_float_file_is_analyzed_and_a_quantized_one_refused(shared: Shared, tmp_path: Path) -> None:
    """The file of ptq is refused before any image is read; so is it by evaluate's counterpart, ptq."""
    ptq(shared.network("resnet20"), "--calib-images", 8, "--eval-images", 0)
    done = amctq_here("analyze", "--model", "results/resnet20_quant.onnx", "--dataset", shared.data, "--json")
    assert done.code == 3
    error = done.envelope["errors"][0]
    assert "quantized" in error["message"]
    assert error["hint"]
    assert not Path("analysis").exists()


@pytest.mark.parametrize(
    ("options", "code", "named"),
    [
        (("--tuning-images", 0), 2, "--tuning-images"),
        (("--tuning-images", 50_000), 2, "images are left"),
        (("--max-drop", 1), 2, "--max-drop"),
        (("--export", "onnx"), 2, "--export"),
        (("--equalize",), 2, "--equalize"),
        (("--target", "mslite"), 2, "converter_lite"),
    ],
)
def test_what_has_no_meaning_is_refused(
    options: tuple[object, ...], code: int, named: str, shared: Shared, runs: Runs
) -> None:
    done = amctq_here("analyze", *shared.network("resnet20"), *options, "--json")
    assert done.code == code
    assert named in done.envelope["errors"][0]["message"]


@pytest.mark.parametrize("options", [("--tuning-images", 8), ("--analyze", "--equalize")])
def test_ptq_refuses_idle_and_contradicting_options(options: tuple[object, ...], shared: Shared) -> None:
    done = amctq_here("ptq", *shared.network("resnet20"), *options, "--json")
    assert done.code == 2
    assert "--analyze" in done.envelope["errors"][0]["message"]


def test_too_few_samples_for_three_roles(tmp_path: Path) -> None:
    """48 samples without roles: where all calibrate, none is left to measure on."""
    options = _task("two_outputs", "unlabelled", tmp_path)
    done = amctq_here("analyze", *options, "--calib-images", 48)
    assert done.code == 3
    assert "none is left" in done.envelope["errors"][0]["message"]
    few = ptq(tuple(options[:-1]), "--analyze", "--output-dir", "few").data
    assert few["data"]["calibration"]["images"] == 8
    assert few["data"]["tuning"]["images"] == 20
    assert few["data"]["evaluation"]["images"] == 20
