"""The export of the float network."""

from __future__ import annotations

import resource
from pathlib import Path

from amctq.networks.float_onnx import export_float
from amctq.networks.registry import REGISTRY
from tests.arrays import image_spec


def test_the_size_of_images_takes_no_memory(tmp_path: Path) -> None:
    """The export has a batch of a thousand: with values, these images would take 190 GB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    graph = export_float(
        REGISTRY["resnet8"].build(10).set_train(False), image_spec(3, 4000, 4000), tmp_path / "float.mindir"
    )
    assert graph.inputs == image_spec(3, 4000, 4000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2 << 20  # KiB
