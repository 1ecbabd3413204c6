"""The export of the float network."""

from __future__ import annotations

import resource
from pathlib import Path

from amctq.networks.float_onnx import export_float
from amctq.networks.registry import REGISTRY


def test_the_size_of_images_takes_no_memory(tmp_path: Path) -> None:
    """The export has a batch of a thousand: with values, these images would take 190 GB."""
    graph = export_float(REGISTRY["resnet8"].build(10).set_train(False), (3, 4000, 4000), tmp_path / "float.mindir")
    assert graph.input_shape == (3, 4000, 4000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4 << 20  # KiB
