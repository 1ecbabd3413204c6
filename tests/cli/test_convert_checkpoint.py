"""``amctq convert-checkpoint``, and runs from weights that PyTorch has named."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.command import Shared, amctq_here

TORCH_FILES = Path(__file__).parents[1] / "networks" / "torch_files"
_BATCH_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def _parameters(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    import mindspore

    return {name: value.asnumpy() for name, value in mindspore.load_checkpoint(str(path)).items()}


@pytest.fixture
def renamed(shared: Shared, tmp_path: Path) -> Path:
    """The weights of resnet20 as PyTorch names them, in a run's dictionary."""
    values = {}
    for name, value in _parameters(shared.checkpoint("resnet20")).items():
        head, _, last = name.rpartition(".")
        values[f"module.{head}.{_BATCH_NORM.get(last, last)}"] = value
        if last == "moving_mean":
            values[f"module.{head}.num_batches_tracked"] = np.array(7)
    save_file(values, tmp_path / "resnet20.safetensors")
    return tmp_path / "resnet20.safetensors"


def test_the_names_of_pytorch_give_the_same_files(shared: Shared, renamed: Path) -> None:
    """The same integers, scales and report, but for the checkpoint that the report names."""
    files = {}
    for name, checkpoint in (("own", shared.checkpoint("resnet20")), ("torch", renamed)):
        done = amctq_here(
            *("ptq", "--dataset", shared.data, "--ckpt", checkpoint, "--model", "resnet20", "--json"),
            *("--calib-images", 32, "--eval-images", 64, "--output-dir", name),
        )
        assert done.code == 0, done.stderr
        files[name] = Path(name, "resnet20_quant.onnx").read_bytes()
        model = done.data["model"]
        assert model["checkpoint"] == str(checkpoint)
        assert model["checkpoint_sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert files["own"] == files["torch"]
    for name in ("config.json", "calibration_record.txt", "placement.json"):
        assert Path("own", name).read_bytes() == Path("torch", name).read_bytes()


def test_a_converted_checkpoint_is_the_networks(shared: Shared, renamed: Path) -> None:
    done = amctq_here("convert-checkpoint", renamed, "made/resnet20.ckpt", "--model", "resnet20", "--json")
    assert done.code == 0, done.stderr
    data = done.data
    assert (data["convention"], data["prefix"], data["renamed"]) == ("PyTorch", "module.", 76)
    assert data["taken"]["bn1.gamma"] == "module.bn1.weight"
    assert data["passed_over"] == {"*.num_batches_tracked": 19}
    written, source = _parameters(Path("made/resnet20.ckpt")), _parameters(shared.checkpoint("resnet20"))
    assert written.keys() == source.keys()
    assert all(np.array_equal(value, source[name]) for name, value in written.items())
    assert sorted(path.name for path in Path("made").iterdir()) == ["resnet20.ckpt"]
    umask = os.umask(0)
    os.umask(umask)
    assert Path("made/resnet20.ckpt").stat().st_mode & 0o777 == 0o666 & ~umask
    again = amctq_here("convert-checkpoint", renamed, "again.ckpt", "--model", "resnet20")
    assert again.code == 0
    assert Path("again.ckpt").read_bytes() == Path("made/resnet20.ckpt").read_bytes()
    assert "97 parameters of resnet20, 76 renamed" in again.stdout
    assert "76 of 97 parameters have PyTorch's names, as bn1.running_mean for bn1.moving_mean" in again.stderr


def test_nothing_is_overwritten_without_force(renamed: Path) -> None:
    Path("there.ckpt").write_bytes(b"mine")
    arguments = ("convert-checkpoint", renamed, "there.ckpt", "--model", "resnet20")
    refused = amctq_here(*arguments)
    assert refused.code == 2
    assert "already holds there.ckpt" in refused.stderr
    assert Path("there.ckpt").read_bytes() == b"mine"
    assert amctq_here(*arguments, "--force").code == 0
    assert len(Path("there.ckpt").read_bytes()) > 1_000_000


def test_a_target_of_another_name_or_the_source_is_refused(renamed: Path) -> None:
    other = amctq_here("convert-checkpoint", renamed, "there.pth", "--model", "resnet20")
    assert other.code == 2
    assert "there.pth does not end in .ckpt" in other.stderr
    source = Path("same.ckpt")
    source.write_bytes(renamed.read_bytes())
    same = amctq_here("convert-checkpoint", source, source, "--model", "resnet20", "--force")
    assert same.code == 2
    assert "same.ckpt is the checkpoint to read" in same.stderr


def test_what_does_not_fit_leaves_nothing(tmp_path: Path) -> None:
    done = amctq_here("convert-checkpoint", TORCH_FILES / "state.pth", "out/x.ckpt", "--model", "resnet20", "--json")
    assert done.code == 3
    assert "does not fit resnet20 with 10 classes" in json.loads(done.stdout)["errors"][0]["message"]
    assert not Path("out").exists()


def test_a_name_map_is_only_for_a_checkpoint(shared: Shared) -> None:
    done = amctq_here("evaluate", "--dataset", shared.data, "--onnx", "x.onnx", "--name-map", "map.json")
    assert done.code == 2
    assert "--name-map is about a checkpoint" in done.stderr


def test_a_name_map_serves_evaluate_and_qat(shared: Shared, tmp_path: Path) -> None:
    values = {
        name.replace("end_point", "fc"): value for name, value in _parameters(shared.checkpoint("resnet20")).items()
    }
    save_file(values, tmp_path / "other.safetensors")
    Path("names.json").write_bytes(b'\xef\xbb\xbf{"end_point.": "fc."}\r\n')
    network = ("--dataset", shared.data, "--model", "resnet20", "--json")
    other = ("--ckpt", tmp_path / "other.safetensors", "--name-map", "names.json")
    found = [
        amctq_here("evaluate", *network, *checkpoint, "--eval-images", 64).data["accuracy"]
        for checkpoint in (("--ckpt", shared.checkpoint("resnet20")), other)
    ]
    assert found[0] == found[1]
    done = amctq_here("qat", *network, *other, "--dry-run")
    assert done.code == 0, done.stderr
    assert amctq_here("evaluate", *network, *other[:2], "--eval-images", 64).code == 3
