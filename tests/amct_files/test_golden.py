"""Configurations that AMCT itself wrote (../shared/amct_golden), to the letter: from .cfg, from JSON, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from amctq.amct_files.config_file import open_config
from amctq.amct_files.config_json import dump_config
from amctq.amct_files.retrain_json import dump_retrain_config
from amctq.choices import WeightAlgo
from amctq.errors import InputError
from amctq.quant.default_config import default_config
from amctq.quant.retrain_config import default_retrain_config
from tests.amct_files.golden import topology_of
from tests.command import Shared
from tests.golden import golden as golden_file


@pytest.fixture(scope="module")
def golden(shared: Shared) -> Path:
    return golden_file(shared, "")


def _amcts(file: Path) -> str:
    return file.read_text() + "\n"  # AMCT ends its file without one


@pytest.mark.parametrize(
    ("cfg", "written", "warned"),
    [
        ("cfg/asym_layer.cfg", "cfg/asym_layer.json", ""),
        ("cfg/common_cw_override.cfg", "cfg/common_cw_override.json", ""),
        ("cfg/common_none.cfg", "cfg/common_none.json", ""),
        ("cfg/quant_bits.cfg", "cfg/quant_bits.json", "conv1: its 3 input channels are an odd number"),
        ("skipfusion/c.cfg", "skipfusion/config.json", ""),
    ],
)
def test_a_cfg_becomes_amcts_own_json(cfg: str, written: str, warned: str, golden: Path) -> None:
    warnings: list[str] = []
    config = open_config(golden / cfg).quant_config(topology_of(golden / written), warnings.append)
    assert dump_config(config).decode() == _amcts(golden / written)
    assert warned in "".join(warnings)
    assert len(warnings) == bool(warned)


def test_a_cfg_of_retraining_becomes_amcts_own_json(golden: Path) -> None:
    written = golden / "cfg/retrain2_cfg.json"
    config = open_config(golden / "cfg/retrain2.cfg", retrain=True)
    assert dump_retrain_config(config.retrain_config(topology_of(written), pytest.fail)).decode() == _amcts(written)


@pytest.mark.parametrize(
    ("cfg", "says"),
    [
        ("common_cw.cfg", r"line 1: common_config\.arq_quantize\.channel_wise: true for a Dense, linear,"),
        ("skip_linear_cw.cfg", r"line 2: common_config\.arq_quantize\.channel_wise: true for a Dense, linear,"),
        ("typo.cfg", r"line 1: unknown field search_steps$"),
    ],
)
def test_what_amct_refuses_is_refused(cfg: str, says: str, golden: Path) -> None:
    with pytest.raises(InputError, match=says):
        open_config(golden / "cfg" / cfg).quant_config(topology_of(golden / "cfg/common_none.json"), pytest.fail)


def test_a_cfg_of_retraining_that_amct_refuses_is_refused(golden: Path) -> None:
    config = open_config(golden / "cfg/retrain.cfg", retrain=True)
    with pytest.raises(InputError, match=r"line 2: .*channel_wise: true for a Dense, linear,"):
        config.retrain_config(topology_of(golden / "cfg/retrain2_cfg.json"), pytest.fail)


@pytest.mark.parametrize(
    ("written", "options"),
    [
        ("ifmr_asym_w8/config.json", {}),
        ("ifmr_sym_w8/config.json", {"symmetric": True}),
        ("cfg/resnet50_config.json", {}),
        ("cfg/skip.json", {"symmetric": True, "skip": ["conv1"]}),
    ],
)
def test_the_defaults_are_amcts(written: str, options: dict[str, Any], golden: Path) -> None:
    topology = topology_of(golden / written)
    assert dump_config(default_config(topology, **options)).decode() == _amcts(golden / written)


def test_the_defaults_of_retraining_are_amcts(golden: Path) -> None:
    written = golden / "cfg/resnet50_retrain.json"
    assert dump_retrain_config(default_retrain_config(topology_of(written))).decode() == _amcts(written)


def test_every_json_that_amct_wrote_is_read_and_written_again_the_same(golden: Path) -> None:
    files = {*golden.glob("cfg/*.json"), *golden.glob("[is]*/config.json")} - {golden / "cfg/ada.json"}
    assert len(files) >= 10
    for file in files:
        topology = topology_of(file)
        if "retrain" in file.name:
            content = dump_retrain_config(open_config(file, retrain=True).retrain_config(topology, pytest.fail))
        else:
            content = dump_config(open_config(file).quant_config(topology, pytest.fail))
        assert content.decode() == _amcts(file), file


@pytest.mark.parametrize("file", ["cfg/ada.cfg", "cfg/ada.json"])
def test_gptq_answers_adaround_and_that_is_said_once(file: str, golden: Path) -> None:
    topology, warnings = topology_of(golden / "cfg/ada.json"), list[str]()
    config = open_config(golden / file).quant_config(topology, warnings.append)
    assert config == default_config(topology, per_tensor=True, weight_algo=WeightAlgo.GPTQ)
    (warning,) = warnings
    assert "ada_quantize of all 20 layers is answered by GPTQ" in warning
    assert "num_iteration, reg_param, beta_range and warm_start are not used" in warning
