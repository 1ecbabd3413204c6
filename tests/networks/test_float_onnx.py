"""Exporting a network whose inputs are not one tensor of images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mindspore import nn

from amctq.errors import InputError
from amctq.networks.float_onnx import export_float


class Two(nn.Cell):
    """A network of two inputs."""

    def construct(self, x: Any, mask: Any) -> Any:
        return x + mask


class Constant(nn.Cell):
    """A network without an input."""

    def construct(self) -> Any:
        return 1


@pytest.mark.parametrize(("cell", "taken"), [(Two, "x, mask"), (Constant, "nothing")])
def test_other_inputs_than_images_are_named(cell: type[nn.Cell], taken: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"construct\(\) takes {taken}$"):
        export_float(cell(), (3, 8, 8), tmp_path / "float.mindir")
