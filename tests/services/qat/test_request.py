"""What a request of ``qat`` refuses by itself, before anything is looked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from amctq import QatRequest
from amctq.choices import SelectEpoch
from amctq.errors import UsageError

FILE = Path("file")
DATA = {"dataset": "data"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ["no images to train with"]),
        ({"train_dataset": "data"}, ["--train-dataset without --eval-dataset"]),
        ({"eval_dataset": "data"}, ["--eval-dataset without --train-dataset"]),
        (DATA | {"train_dataset": "data"}, ["--dataset holds training and test images"]),
        (DATA | {"epochs": 0}, ["--epochs"]),
        (DATA | {"max_steps": 0}, ["--max-steps"]),
        (DATA | {"keep_checkpoint_max": 0}, ["--keep-checkpoint-max"]),
        (DATA | {"freeze_bn_after": -1}, ["--freeze-bn-after"]),
        (DATA | {"lr_max": float("nan")}, ["--lr-max nan"]),
        (DATA | {"lr_max": 0.0}, ["--lr-max 0", "above 0"]),
        (DATA | {"momentum": 1.5}, ["--momentum 1.5", "from 0 to 1"]),
        (DATA | {"weight_decay": -1.0}, ["--weight-decay -1", "from 0 up"]),
        (DATA | {"loss_scale": 0.0}, ["--loss-scale 0"]),
        (DATA | {"weight_bits": 5}, ["--weight-bits 5"]),
        (DATA | {"epochs": 1, "max_steps": 1}, ["--epochs and --max-steps"]),
        (DATA | {"save_every_steps": 1, "save_checkpoint_epochs": 1}, ["--save-every-steps", "--save-checkpoint"]),
        (DATA | {"resume": True, "force": True}, ["--resume and --force"]),
        (DATA | {"config": FILE, "weight_bits": 8}, ["--weight-bits and --config"]),
        (DATA | {"config": FILE, "skip_layers": ("a",)}, ["--skip-layer and --config"]),
        (DATA | {"config": FILE, "skip_after": ("a",)}, ["--skip-after and --config"]),
        (DATA | {"config": FILE, "float_head": True}, ["--float-head and --config"]),
        (DATA | {"record": FILE, "calib_images": 8}, ["--calib-images and --record"]),
        (DATA | {"max_drop": 1.0, "eval_images": 0}, ["--max-drop and --eval-images 0"]),
        (DATA | {"distill": False, "distill_weight": 0.5}, ["--no-distill and --distill-weight"]),
        (DATA | {"distill": False, "distill_temperature": 2.0}, ["--no-distill and --distill-temperature"]),
        (DATA | {"select": SelectEpoch.BEST, "eval_images": 0}, ["--select best and --eval-images 0"]),
        (DATA | {"air": "a/b"}, ["--air a/b"]),
        (DATA | {"air": ""}, ["--air"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_contradicting_options(options: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        QatRequest(ckpt=Path("net.ckpt"), **options)
    assert all(word in caught.value.message for word in words), caught.value.message


def test_a_teacher_is_asked_for_by_what_it_shall_be() -> None:
    def distill(**options: Any) -> bool | None:
        return QatRequest(ckpt=Path("net.ckpt"), dataset="data", **options).recipe_options.distill

    assert distill() is None
    assert distill(distill=False) is False
    assert distill(distill_weight=0.5) is True
