"""``amctq ptq --auto``: few layers fall back, until training samples lose no more than ``--max-drop``."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.cli import tasks
from tests.cli.planted import BAD, BEFORE, plant
from tests.command import AMCTQ, Finished, Shared, amctq, amctq_here, plain_environment
from tests.runs import Runs, ptq

FEW = ("--calib-images", 32, "--eval-images", 100, "--tuning-images", 400)
TRIES = "auto_tries.json"


@pytest.fixture(scope="session")
def narrow(shared: Shared, runs: Runs) -> tuple[Finished, Path]:
    """resnet20 with weights of two bits, some of which have to fall back."""
    options = ("--weight-bits", 2, "--auto", "--max-drop", 2)
    return runs.finished("ptq", *shared.network("resnet20"), *FEW, *options, "--json")


def _weights(data: Mapping[str, Any]) -> dict[str, int]:
    return {layer["name"]: layer["weight_bits"] for layer in data["quantization"]["layers"]}


def test_narrow_weights_fall_back_to_eight_bits(narrow: tuple[Finished, Path]) -> None:
    data = narrow[0].data
    found = data["fallback"]
    assert found["met"]
    assert found["drop"] <= found["target"] == 2
    assert found["drop_95"][0] < found["drop"] < found["drop_95"][1]
    assert found["samples"] == data["data"]["tuning"]["images"] == 400
    assert set(found["layers"].values()) == {8}
    assert {name for name, bits in _weights(data).items() if bits == 8} == found["layers"].keys()
    assert sorted(set(_weights(data).values())) == [2, 8]
    tries = found["tries"]
    assert not tries[0]["kept"]
    assert tries[0]["layers"] == 0
    assert tries[1]["layers"] == 20
    assert [item["kept"] for item in tries] == [item["drop"] <= 2 for item in tries]
    assert min(item["layers"] for item in tries if item["kept"]) == len(found["layers"])
    assert len(tries) <= 12
    (chosen,) = [item for item in tries if item["chosen"]]
    assert (chosen["layers"], chosen["in_float"]) == (len(found["layers"]), 0)
    assert (chosen["drop"], chosen["drop_95"]) == (found["drop"], found["drop_95"])
    assert found["bits"] == 8
    assert 0 < found["share_narrow"] < 1
    assert data["quantization"]["left_in_float"] == []
    assert not (narrow[1] / TRIES).exists()
    checks = {check["name"]: check for check in data["checks"]}
    assert checks["--auto"]["passed"]
    assert "400 tuning samples" in checks["--auto"]["detail"]


def test_what_was_tried_is_what_is_written(narrow: tuple[Finished, Path], shared: Shared) -> None:
    """The configuration that was written, without --auto, yields the same file: nothing was calibrated in between."""
    again = ptq(shared.network("resnet20"), *FEW[:4], "--config", narrow[1] / "config.json", "--output-dir", "again")
    assert _weights(again.data) == _weights(narrow[0].data)
    one, other = (data["quantization"]["layers"] for data in (narrow[0].data, again.data))
    dense = {layer["name"] for layer in one if layer["type"] == "Dense"}  # AMCT's file has one scale for its weight
    for first, second in zip(one, other, strict=True):
        if first["name"] not in dense:
            assert first == second


def test_the_row_names_the_layers(narrow: tuple[Finished, Path]) -> None:
    from amctq.cli.fallback import fallback_row

    name, text = fallback_row(narrow[0].data)
    assert name == "fell back"
    assert "at 8 bits" in text
    assert "400 training samples lose" in text


@pytest.mark.parametrize(("placement", "layers"), [("ascend", {BAD}), ("ort", {BAD, BEFORE})])
def test_a_bad_layer_is_left_in_float(placement: str, layers: set[str], shared: Shared) -> None:
    """With placement ort the layer before it yields the same integers, and is in float too."""
    plant(shared, "bad.ckpt")
    network = ("--model", "resnet20", "--ckpt", "bad.ckpt", "--dataset", shared.data)
    options = ("--placement", placement, "--auto", "--max-drop", 0.5)
    data = ptq(network, *FEW, *options).data
    found = data["fallback"]
    assert found["met"]
    assert found["tries"][0]["drop"] > 0.5
    assert found["layers"] == dict.fromkeys(found["layers"], "float")
    assert found["layers"].keys() == layers
    left = {item["name"]: item["reason"] for item in data["quantization"]["left_in_float"]}
    assert left.keys() == layers
    assert all(reason.startswith("left in float by --auto: --max-drop 0.5") for reason in left.values())
    written = json.loads(Path("results/config.json").read_text())
    assert {name for name, layer in written.items() if isinstance(layer, dict) and not layer["quant_enable"]} == layers
    # The configuration that was written leaves the same layers in float.
    again = ptq(network, *FEW[:4], "--config", "results/config.json", "--placement", placement, "--output-dir", "again")
    assert {item["name"] for item in again.data["quantization"]["left_in_float"]} == layers


def test_nothing_falls_back_where_the_target_is_met(shared: Shared) -> None:
    data = ptq(shared.network("resnet20"), *FEW, "--auto", "--max-drop", 3).data
    found = data["fallback"]
    only = {"layers": 0, "in_float": 0, "drop": found["drop"], "drop_95": found["drop_95"]}
    assert found["tries"] == [only | {"kept": True, "chosen": True}]
    assert found["layers"] == {}
    assert found["share_narrow"] == 1
    assert data["quantization"]["left_in_float"] == []
    plain = ptq(shared.network("resnet20"), *FEW[:4], "--output-dir", "plain").data
    assert data["files"] == plain["files"]
    assert data["accuracy"] == plain["accuracy"]


def test_an_impossible_target_says_the_best(shared: Shared) -> None:
    done = amctq("ptq", *shared.network("resnet20"), *FEW, "--auto", "--max-drop", -5, "--json")
    assert done.code == 5
    found = done.data["fallback"]
    assert not found["met"]
    assert found["drop"] == min(item["drop"] for item in found["tries"]) > -5
    assert not any(item["kept"] for item in found["tries"])
    assert found["tries"][-1]["in_float"] == 19
    error = done.envelope["errors"][0]
    assert "--auto: the best found has a drop of" in error["message"]
    assert "allowed -5 points" in error["message"]
    assert not Path("results").exists()


def test_an_interrupted_run_is_resumed(narrow: tuple[Finished, Path], shared: Shared) -> None:
    options = (*shared.network("resnet20"), *FEW, "--weight-bits", 2, "--auto", "--max-drop", 2, "--json")
    command = [str(AMCTQ), "ptq", *map(str, options), "--output-dir", "cut"]
    state = Path("cut") / TRIES
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=plain_environment())
    while process.poll() is None and _known(state) < 3:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    known = _known(state)
    assert 3 <= known < len(narrow[0].data["fallback"]["tries"])
    refused = amctq_here("ptq", *options, "--output-dir", "cut")
    assert refused.code == 2
    assert "--resume" in refused.envelope["errors"][0]["hint"]
    other = amctq("ptq", *options, "--output-dir", "cut", "--resume", "--seed", 2)
    assert other.code == 3
    assert "another run: network, samples" in other.envelope["errors"][0]["message"]
    assert _known(state) == known
    resumed = amctq("ptq", *options, "--output-dir", "cut", "--resume")
    assert resumed.code == 0, resumed.stderr
    assert f"{known} tries are known" in (Path("cut") / "amctq.log").read_text()
    assert not state.exists()
    assert resumed.data["fallback"] == narrow[0].data["fallback"]
    for name in ("resnet20_quant.onnx", "config.json", "placement.json"):
        assert (Path("cut") / name).read_bytes() == (narrow[1] / name).read_bytes()


def _known(state: Path) -> int:
    return len(json.loads(state.read_text())["tries"]) if state.exists() else 0


def test_a_damaged_state_is_refused(shared: Shared) -> None:
    options = (*shared.network("resnet20"), *FEW, "--auto", "--max-drop", 3, "--resume", "--json")
    missing = amctq_here("ptq", *options)
    assert missing.code == 3
    assert "--resume: there is no" in missing.envelope["errors"][0]["message"]
    Path("results").mkdir()
    (Path("results") / TRIES).write_text('{"identity": ')
    done = amctq_here("ptq", *options)
    assert done.code == 3
    assert TRIES in done.envelope["errors"][0]["message"]
    assert (Path("results") / TRIES).exists()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--auto",), "--max-drop"),
        (("--auto", "--max-drop", 1, "--eval-images", 0), "--eval-images 0"),
        (("--auto", "--max-drop", 1, "--record", "r.txt"), "--record"),
        (("--auto", "--max-drop", 1, "--equalize"), "--equalize"),
        (("--auto", "--max-drop", 1, "--backend", "amct"), "--backend amct"),
        (("--auto", "--max-drop", 1, "--export", "mslite"), "--export mslite"),
        (("--auto", "--max-drop", 1, "--tuning-images", 0), "--tuning-images"),
        (("--auto", "--max-drop", 1, "--tuning-images", 60_000), "images are left"),
        (("--auto", "--max-drop", 1, "--resume", "--force"), "--force"),
        (("--resume",), "--auto"),
    ],
)
def test_contradictions(options: tuple[object, ...], named: str, shared: Shared) -> None:
    done = amctq_here("ptq", *shared.network("resnet20"), *options, "--json")
    assert done.code == 2
    assert named in done.envelope["errors"][0]["message"]


@pytest.mark.parametrize("command", ["qat", "analyze"])
def test_no_other_command_has_it(command: str, shared: Shared) -> None:
    done = amctq_here(command, *shared.network("resnet20"), "--auto", "--json")
    assert done.code == 2
    assert "--auto" in done.envelope["errors"][0]["message"]


def _task(name: str, dataset: str) -> tuple[object, ...]:
    import mindspore

    mindspore.set_seed(1)
    mindspore.save_checkpoint(getattr(tasks, name)(), f"{name}.ckpt")
    source = Path(tasks.__file__)
    network = ("--model", f"{source}:{name}", "--ckpt", f"{name}.ckpt", "--dataset", f"{source}:{dataset}")
    return (*network, "--allow-poor-float", "--num-classes", 10)


def test_without_labels_nothing_says_how_good_a_network_is() -> None:
    done = amctq_here("ptq", *_task("two_outputs", "unlabelled"), "--auto", "--max-drop", 1, "--json")
    assert done.code == 2
    assert "no metric measures this network" in done.envelope["errors"][0]["message"]


def test_too_few_samples_for_three_roles() -> None:
    options = ("--metric", "psnr", "--auto", "--max-drop", 1, "--json")
    done = amctq_here("ptq", *_task("autoencoder", "itself"), *options, "--calib-images", 32)
    assert done.code == 3
    assert "none is left" in done.envelope["errors"][0]["message"]


def test_another_metric_and_a_network_of_two_layers() -> None:
    """PSNR is in dB, and no unit stands behind it."""
    network = _task("autoencoder", "itself")
    done = amctq_here("ptq", *network, "--metric", "psnr", "--auto", "--max-drop", 3, "--calib-images", 16, "--json")
    assert done.code == 0, done.stderr
    assert done.data["fallback"]["metric"]["key"] == "psnr"
    assert done.data["fallback"]["samples"] == 16


def test_amcts_fields_are_read(narrow: tuple[Finished, Path], shared: Shared) -> None:
    document = json.loads((narrow[1] / "config.json").read_text())
    auto = {"strategy": "BinarySearch", "sensitivity": "CosineSimilarity"}
    Path("auto.json").write_text(json.dumps(document | {"accuracy_based_auto_calibration": auto}))
    Path("auto.cfg").write_text('accuracy_based_auto_calibration { strategy: "BinarySearch" }\n')
    for name in ("auto.json", "auto.cfg"):
        done = amctq_here("ptq", *shared.network("resnet20"), "--config", name, "--dry-run", "--json")
        assert done.code == 0, done.stderr
        assert any("--auto --max-drop POINTS does it" in text for text in done.data["warnings"])
    Path("other.json").write_text(json.dumps(document | {"accuracy_based_auto_calibration": {"strategy": "Linear"}}))
    done = amctq_here("ptq", *shared.network("resnet20"), "--config", "other.json", "--dry-run", "--json")
    assert done.code == 3
    assert "accuracy_based_auto_calibration.strategy" in done.envelope["errors"][0]["message"]
