"""amctq beside AMCT: the same integers from AMCT's record, and the same scales from its own search."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from amctq.amct_files.record_text import load_record
from tests.command import Shared
from tests.golden import NAMES, deployed, golden, options
from tests.runs import ptq

# The activations of onnxruntime and of PyTorch differ in their last bits, and so do their extremes.
CLOSE = 5e-7


@pytest.mark.parametrize("name", ["ifmr_asym_w8", "ifmr_sym_w8"])
def test_amcts_record_gives_amcts_deploy_file(name: str, shared: Shared, tmp_path: Path) -> None:
    folder = golden(shared, name)
    ptq(options(shared, tmp_path, 4), "--record", folder / "record.txt", "--export", "ascend")
    found, expected = (
        deployed(Path("results/resnet20_quant_deploy.onnx")),
        deployed(folder / "resnet20_deploy_model.onnx"),
    )
    assert found.keys() == expected.keys()
    assert len(found) == 20
    assert [layer for layer in found if not found[layer].same_as(expected[layer])] == []


@pytest.mark.parametrize(("name", "more"), [("ifmr_asym_w8", ()), ("ifmr_sym_w8", ("--act-symmetric",))])
def test_the_own_search_finds_amcts_scales(name: str, more: tuple[str, ...], shared: Shared, tmp_path: Path) -> None:
    folder = golden(shared, name)
    ptq(options(shared, tmp_path), *more, "--placement", "ascend")
    found = load_record(Path("results/calibration_record.txt"))
    for theirs in load_record(folder / "record.txt").layers:
        ours = found[NAMES.get(theirs.name, theirs.name)]
        assert ours.activation.scale == pytest.approx(theirs.activation.scale, rel=CLOSE), theirs.name
        assert ours.activation.offset == theirs.activation.offset
        assert np.array_equal(ours.weight_scale, theirs.weight_scale)
