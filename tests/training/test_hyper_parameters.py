"""The sample's retrain_config.py as data, and what ``amctq qat --hyper-parameters`` makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from amctq.errors import InputError
from amctq.pretrained import CHECKPOINT
from amctq.training.hyper_parameters import read_hyper_parameters
from tests.command import amctq, write_records

FILE = Path("retrain_config.py")
# The keys and values that the sample documents (docs/en/reference.md, "Training step"), in its form.
SAMPLE = '''"""network config setting"""
from easydict import EasyDict as ed

CONFIG_QUANT = ed({
    "class_num": 10,
    "batch_size": 32,
    "loss_scale": 1024,
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "epoch_size": 30,
    "pretrain_epoch_size": 0,
    "save_checkpoint": True,
    "save_checkpoint_epochs": 5,
    "keep_checkpoint_max": 10,
    "save_checkpoint_path": "./retrain_result",
    "warmup_epochs": 5,
    "lr_decay_mode": "poly",
    "lr_init": 0.0005,
    "lr_end": 0.00001,
    "lr_max": 0.1
})
'''


def _read(text: str) -> dict[str, object]:
    FILE.write_text(text)
    return dict(read_hyper_parameters(FILE).values)


def test_the_samples_file_is_every_default() -> None:
    FILE.write_text(SAMPLE)
    found = read_hyper_parameters(FILE)
    assert found.unused == ()
    assert found.values == {
        **{"num_classes": 10, "batch_size": 32, "loss_scale": 1024, "momentum": 0.9, "weight_decay": 1e-4},
        **{"epochs": 30, "save_checkpoint_epochs": 5, "keep_checkpoint_max": 10, "output_dir": "./retrain_result"},
        **{"warmup_epochs": 5, "lr_decay": "poly", "lr_init": 0.0005, "lr_end": 1e-5, "lr_max": 0.1},
    }


@pytest.mark.parametrize(
    "text",
    ["ours = {'epoch_size': 3}", "ours: dict = dict(epoch_size=3)", "x = 1\nCONFIG_QUANT = ed(epoch_size=3)\ny = {}"],
)
def test_other_forms_of_a_dictionary_are_read_too(text: str) -> None:
    assert _read(text) == {"epochs": 3}


def test_nothing_is_executed() -> None:
    told = (
        "import os\nos.mkdir('executed')\nCONFIG_QUANT = ed({'lr_max': 0.5, 'colour': 'red', 'save_checkpoint': False})"
    )
    FILE.write_text(told)
    found = read_hyper_parameters(FILE)
    assert found.values == {"lr_max": 0.5}
    assert found.unused == ("line 2", "colour = 'red'", "save_checkpoint = False")
    assert not Path("executed").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("CONFIG_QUANT = ed({\n 'lr_max': 0.1 * 2 })", "line 2: lr_max: 0.1 [*] 2 is not written out"),
        ("CONFIG_QUANT = ed({'epoch_size': 3.5})", "line 1: epoch_size: found 3.5"),
        ("CONFIG_QUANT = ed({'momentum': True})", "line 1: momentum: found True"),
        ("CONFIG_QUANT = ed({'epoch_size': 3", "line 1: not Python"),
        ("import os", "no dictionary"),
        ("a = {}\nb = {}", r"several dictionaries \(a, b\)"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, says: str) -> None:
    FILE.write_text(text)
    with pytest.raises(InputError, match=says):
        read_hyper_parameters(FILE)


def test_options_win_over_the_environment_and_that_over_the_file() -> None:
    write_records(Path("data/data_batch_1.bin"), images=64)
    write_records(Path("data/test_batch.bin"), images=16)
    FILE.write_text(
        "CONFIG_QUANT = ed({'epoch_size': 4, 'batch_size': 16, 'lr_max': 0.5, 'warmup_epochs': 1, 'seed': 3})"
    )
    arguments = ("qat", "--dataset", "data", "--ckpt", CHECKPOINT, "--model", "resnet8", "--hyper-parameters", FILE)
    env = {"AMCTQ_LR_MAX": "0.25", "AMCTQ_BATCH_SIZE": "32"}
    done = amctq(*arguments, "--batch-size", "8", "--max-steps", "20", "--dry-run", "--json", env=env)
    assert done.code == 0, done.stderr
    recipe = done.envelope["data"]["recipe"]
    assert (recipe["steps"], recipe["batch_size"]) == (20, 8), "--max-steps is given instead of the file's epochs"
    assert (recipe["lr_max"], recipe["warmup_steps"]) == (0.25, 8)
    assert "seed = 3" in done.stderr


def test_a_file_that_is_not_there_is_bad_input_in_the_envelope_too() -> None:
    done = amctq("qat", "--hyper-parameters", "nowhere.py", "--dataset", "data", "--ckpt", "x.ckpt", "--json")
    assert (done.code, done.envelope["exit_code"]) == (3, 3)
    assert done.envelope["command"] == "qat"
    assert "cannot read the hyper-parameters nowhere.py" in done.envelope["errors"][0]["message"]
