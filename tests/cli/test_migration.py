"""Each old command line, in its own spelling, through amctq: what follows the script's name is what the guide says.

A resnet8 stands in for the ResNet-50, and ``--dry-run`` for the work, because what is tested is that every word is
understood; the machine has an NPU that is not there, because the sample asks for one.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from amctq.pretrained import CHECKPOINT
from tests.amct.standin_path import on_an_npu
from tests.command import Finished, amctq, write_records

TRAIN, TEST = "cifar-10-batches-bin", "cifar-10-verify-bin"


@pytest.fixture
def data() -> None:
    """The two folders of the guide; test_batch.bin lies in the first one as well, where the guide leaves it."""
    write_records(Path(TRAIN, "data_batch_1.bin"), images=64)
    for folder in (TRAIN, TEST):
        write_records(Path(folder, "test_batch.bin"), images=40)
    Path("resnet50.ckpt").symlink_to(CHECKPOINT)


def _run(line: str, *more: str) -> Finished:
    done = amctq(*shlex.split(line), *more, "--json", env=on_an_npu())
    assert done.code == 0, done.stderr
    return done


@pytest.mark.usefixtures("data")
def test_resnet50_sample_py() -> None:
    line = f"ptq --dataset_path {TEST} --checkpoint_path resnet50.ckpt"
    plan = _run(line, "--net", "resnet8", "--dry-run").envelope["data"]
    assert (plan["backend"], plan["device"]) == ("amct", "ascend")
    assert plan["calibration_images"] + plan["evaluation_images"] == 40, "the sample calibrates on what it evaluates on"
    assert [Path(name).name for name in plan["files"]][1] == "resnet8_quant.air"


@pytest.mark.usefixtures("data")
def test_resnet50_retrain_sample_py_and_the_shell_script_around_it() -> None:
    line = (
        f"qat --net resnet8 --dataset cifar10 --run_distribute False --device_num 1 --device_target Ascend "
        f"--pre_trained resnet50.ckpt --eval_dataset {TEST} --train_dataset {TRAIN} --air retrained"
    )
    plan = _run(line, "--dry-run").envelope["data"]
    assert (plan["training_images"], plan["evaluation_images"]) == (64, 40)
    assert Path(plan["files"][0]).name == "retrained.air"
    assert plan["recipe"]["name"] == "sample"
    script = f"qat resnet8 cifar10 {TRAIN} {TEST} resnet50.ckpt"  # run_standalone_train_sample.sh
    same = _run(script, "--air", "retrained", "--dry-run").envelope["data"]
    assert plan | {"estimated_seconds": same["estimated_seconds"]} == same


@pytest.mark.usefixtures("data")
def test_the_shell_script_for_several_devices() -> None:
    Path("hccn.conf").write_text("address_0=192.168.100.100\naddress_1=192.168.100.101\n")
    made = amctq("rank-table", "--device_num", "[0,2)", "--server_ip", "127.0.0.1", "--hccn-conf", "hccn.conf")
    table = made.stdout.split()[-1]
    script = f"launch-distributed resnet8 cifar10 {table} {TRAIN} {TEST} resnet50.ckpt"
    plan = _run(script, "--dry-run").envelope["data"]
    assert [rank["device"] for rank in plan["ranks"]] == [0, 1]
    line = (
        f"qat --net resnet8 --dataset cifar10 --run_distribute True --device_num 2 --device_target Ascend "
        f"--pre_trained resnet50.ckpt --eval_dataset {TEST} --train_dataset {TRAIN}"
    )
    assert _run(line, "--dry-run").envelope["data"]["workers"] == 2


@pytest.mark.slow
@pytest.mark.usefixtures("data")
def test_original_measures_the_checkpoint() -> None:
    line = f"qat --original --eval_dataset {TEST} --train_dataset {TRAIN} --pre_trained resnet50.ckpt --net resnet8"
    answer = _run(line).envelope["data"]
    assert answer["command"] == "qat"
    assert 0 <= answer["accuracy"]["top1"] <= 100
    assert not Path("retrain_result").exists()


def test_hccl_tools_py() -> None:
    line = "rank-table --device_num '[0,1)' --visible_devices 0,1,2,3,4,5,6,7 --server_ip 127.0.0.1"
    Path("hccn.conf").write_text("address_0=192.168.100.101\n")
    done = _run(line, "--hccn-conf", "hccn.conf")
    (artifact,) = done.envelope["artifacts"]
    assert Path(artifact["path"]).name == "hccl_1p_0_127.0.0.1.json"


@pytest.mark.parametrize("words", ["resnet8 cifar10 train eval", "resnet8 cifar10 table.json train eval net.ckpt"])
def test_a_line_of_another_length_is_a_usage_error(words: str) -> None:
    done = amctq("qat", *words.split())
    assert done.code == 2
    assert "Missing option" in done.stderr or "unexpected" in done.stderr
