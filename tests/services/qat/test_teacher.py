"""The float network as a teacher, in onnxruntime and beside the network that learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from amctq.choices import Device
from amctq.data.inputs import IMAGE
from amctq.data.samples import Batches, split
from amctq.data.source import find_dataset
from amctq.networks.registry import find_model
from amctq.pretrained import CHECKPOINT
from amctq.progress import Reporter
from amctq.runtime import graph_mode, resolve_device
from tests.arrays import logits_of


def test_a_teacher_says_the_same_wherever_it_runs(pictures: Path, tmp_path: Path) -> None:
    from amctq.networks.verified import load_network
    from amctq.services.qat.train import teacher_on

    spec = find_model("resnet8")
    dataset = find_dataset(str(pictures)).open(spec.preprocessing(10))
    images = Batches(samples=split(dataset, calibration_images=16, evaluation_images=0, seed=1).calibration, size=16)
    verified = load_network(
        spec=spec,
        ckpt=CHECKPOINT,
        num_classes=10,
        device=resolve_device(Device.CPU, None),
        examples=images,
        scratch=tmp_path,
        reporter=Reporter(),
    )
    batch = images.first()[IMAGE]
    with graph_mode():
        one, other = (logits_of(teacher_on(device, verified), batch) for device in (Device.CPU, Device.ASCEND))
    assert np.ptp(one) > 1
    np.testing.assert_allclose(one, other, atol=1e-3)
