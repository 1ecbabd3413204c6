"""The export of the float network."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import pytest
from mindspore import nn

from amctq.errors import InputError
from amctq.networks.float_onnx import export_float
from amctq.networks.registry import REGISTRY


class Two(nn.Cell):
    """A network of two inputs."""

    def construct(self, x: Any, mask: Any) -> Any:
        return x + mask


class Constant(nn.Cell):
    """A network without an input."""

    def construct(self) -> Any:
        return 1


def test_the_size_of_images_takes_no_memory(tmp_path: Path) -> None:
    """The export has a batch of a thousand: with values, these images would take 190 GB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    graph = export_float(REGISTRY["resnet8"].build(10).set_train(False), (3, 4000, 4000), tmp_path / "float.mindir")
    assert graph.input_shape == (3, 4000, 4000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2 << 20  # KiB


@pytest.mark.parametrize(("cell", "taken"), [(Two, "x, mask"), (Constant, "nothing")])
def test_other_inputs_than_images_are_named(cell: type[nn.Cell], taken: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"construct\(\) takes {taken}$"):
        export_float(cell(), (3, 8, 8), tmp_path / "float.mindir")
