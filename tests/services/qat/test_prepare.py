"""What ``qat`` refuses before an image is measured: a network, a configuration or a record that it could not train."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import amctq
from amctq.choices import Device
from amctq.errors import InputError
from tests.command import NETWORKS, Own, Shared
from tests.services.phases import Phases


def _refused(match: str, **given: Any) -> None:
    """``qat`` ends with an InputError right after the network has been read."""
    phases = Phases()
    with pytest.raises(InputError, match=match):
        amctq.qat(amctq.QatRequest(device=Device.CPU, max_steps=1, **given), phases)
    assert phases.names[-1] == "proof"
    assert not Path("retrain_result").exists()


def test_a_layer_that_mindspore_cannot_retrain_is_refused_only_where_it_is_asked_for(
    shared: Shared, own: Own, tmp_path: Path
) -> None:
    config = tmp_path / "retrain.json"
    config.write_text('{"version": 1, "conv1": {"retrain_enable": true}}')
    _refused(
        r"conv1: this layer cannot be quantized: OwnConv has no attribute .* \(it cannot be retrained\)",
        config=config,
        dataset=shared.data,
        ckpt=own.checkpoint,
        model=f"{NETWORKS}:own_layer",
        image_size=32,
        calib_images=8,
        eval_images=64,
    )


def test_a_record_without_a_layer_that_the_configuration_trains(shared: Shared, own: Own, tmp_path: Path) -> None:
    lines = own.record.read_text().split("record {\n")
    (tmp_path / "record.txt").write_text("record {\n".join(line for line in lines if '"layer1.0.conv1"' not in line))
    names = [name for name, entry in json.loads(own.config.read_text()).items() if isinstance(entry, dict)]
    config = {"version": 1, **{name: {"retrain_enable": True} for name in names}}
    (tmp_path / "retrain.json").write_text(json.dumps(config))
    _refused(
        r"the record lacks layer layer1\.0\.conv1",
        dataset=shared.data,
        ckpt=shared.checkpoint("resnet20"),
        model="resnet20",
        record=tmp_path / "record.txt",
        config=tmp_path / "retrain.json",
        eval_images=64,
    )
