"""What a request of ``ptq`` refuses by itself, before anything is looked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from amctq import PtqRequest
from amctq.choices import (
    ActAlgo,
    ActType,
    ArqRule,
    ExportFormat,
    HfmgVariant,
    IfmrVariant,
    Placement,
    TargetIsa,
    WeightAlgo,
    WeightStorage,
)
from amctq.errors import UsageError

FILE = Path("file")


def _request(**options: Any) -> PtqRequest:
    return PtqRequest(dataset="data", ckpt=Path("net.ckpt"), **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"calib_images": 0}, ["--calib-images", "0"]),
        ({"eval_images": -1}, ["--eval-images"]),
        ({"batch_size": 0}, ["--batch-size"]),
        ({"image_size": 4}, ["--image-size"]),
        ({"num_classes": 1}, ["--num-classes"]),
        ({"seed": -1}, ["--seed"]),
        ({"max_drop": float("inf")}, ["--max-drop inf"]),
        ({"max_drop": 1.0, "eval_images": 0}, ["--max-drop", "--eval-images 0"]),
        ({"config": FILE, "act_algo": ActAlgo.HFMG}, ["--act-algo and --config"]),
        ({"config": FILE, "act_symmetric": True}, ["--act-symmetric and --config"]),
        ({"config": FILE, "per_tensor": True}, ["--per-tensor and --config"]),
        ({"config": FILE, "skip_layers": ("conv1",)}, ["--skip-layer and --config"]),
        ({"record": FILE, "skip_layers": ("conv1",)}, ["--skip-layer and --record"]),
        ({"config": FILE, "skip_after": ("conv1",)}, ["--skip-after and --config"]),
        ({"record": FILE, "float_head": True}, ["--float-head and --record"]),
        ({"record": FILE, "ifmr_variant": IfmrVariant.ASCEND}, ["--ifmr-variant and --record"]),
        ({"record": FILE, "hfmg_variant": HfmgVariant.AMCT}, ["--hfmg-variant and --record"]),
        ({"record": FILE, "arq_rule": ArqRule.ASCEND}, ["--arq-rule and --record"]),
        ({"record": FILE, "placement": Placement.ORT}, ["--placement ort and --record"]),
        ({"export": (ExportFormat.MINDIR,), "placement": Placement.ORT}, ["--placement ort and --export mindir"]),
        ({"weight_bits": 5}, ["--weight-bits 5", "8, 7, 6, 4, 3, 2"]),
        ({"weight_algo": WeightAlgo.MSE, "arq_rule": ArqRule.ASCEND}, ["--arq-rule ascend", "mse"]),
        ({"isa": TargetIsa.AVX2, "act_type": ActType.INT8}, ["--isa avx2 and --act-type int8"]),
        ({"isa": TargetIsa.AVX2, "weight_storage": WeightStorage.INT4, "weight_bits": 4}, ["--isa avx2 and --weight"]),
        ({"weight_storage": WeightStorage.INT4}, ["--weight-storage int4 and --weight-bits 8"]),
        ({"soc_version": "Ascend310P3"}, ["--soc-version"]),
        ({"soc_version": "310 P3", "export": (ExportFormat.ASCEND,)}, ["--soc-version", "310 P3"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_contradicting_options(options: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        _request(**options)
    assert all(word in caught.value.message for word in words), caught.value.message


@pytest.mark.parametrize(
    ("options", "placement"),
    [
        ({}, Placement.ORT),
        ({"export": (ExportFormat.ONNX,)}, Placement.ORT),
        ({"export": (ExportFormat.ONNX, ExportFormat.MINDIR)}, Placement.ASCEND),
        ({"export": (ExportFormat.ASCEND,)}, Placement.ASCEND),
        ({"record": FILE}, Placement.ASCEND),
        ({"placement": Placement.ASCEND}, Placement.ASCEND),
    ],
    ids=str,
)
def test_the_placement_follows_what_is_exported(options: dict[str, Any], placement: Placement) -> None:
    assert _request(**options).resolved_placement is placement
