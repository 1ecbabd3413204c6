"""What the engine that drives AMCT does beside the contract, and what it makes of an AMCT that fails."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mindspore
import numpy as np
import pytest

from amctq.amct_files.record_text import load_record
from amctq.backends.amct import AmctBackend, AmctQuantizedNetwork
from amctq.backends.native import NativeBackend
from amctq.backends.ptq_config import PtqConfig
from amctq.choices import ActAlgo, ActType, ArqRule, ExportFormat, IfmrVariant, Placement
from amctq.errors import InputError, UnavailableError
from amctq.networks.float_network import FloatNetwork
from amctq.progress import Reporter
from amctq.quant.config import ActivationConfig, QuantConfig
from amctq.quant.default_config import default_config
from amctq.quant.retrain_config import UlqConfig, default_retrain_config
from tests.amct.standin_path import standin_importable
from tests.backends.test_contract import IMAGES, batches
from tests.backends.test_simulation import network_of


@pytest.fixture(autouse=True)
def amct() -> Iterator[Any]:
    """The stand-in, importable and imported."""
    with standin_importable():
        import amct_mindspore

        yield amct_mindspore


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> FloatNetwork:
    return network_of("Small", tmp_path_factory.mktemp("network"))


def _config(quant: QuantConfig) -> PtqConfig:
    return PtqConfig(
        quant=quant,
        placement=Placement.ASCEND,
        act_type=ActType.UINT8,
        ifmr_variant=IfmrVariant.ASCEND,
        arq_rule=ArqRule.ASCEND,
    )


def _quantize(
    network: FloatNetwork, quant: QuantConfig | None = None, reporter: Reporter | None = None
) -> AmctQuantizedNetwork:
    return AmctBackend(batch_size=4).quantize(
        network=network,
        config=_config(quant or default_config(network.topology)),
        calibration=batches(),
        reporter=reporter or Reporter(),
    )


def _changed(config: QuantConfig, name: str, activation: ActivationConfig) -> QuantConfig:
    layers = tuple(replace(item, activation=activation) if item.name == name else item for item in config.layers)
    return replace(config, layers=layers)


def test_both_engines_find_the_same_scales(network: FloatNetwork) -> None:
    """Two implementations of the Ascend operators IFMR and WtsARQ, which share no line."""
    config = _config(default_config(network.topology))
    own = NativeBackend().quantize(network=network, config=config, calibration=batches(), reporter=Reporter()).record
    amcts = _quantize(network).record
    for one, other in zip(own.layers, amcts.layers, strict=True):
        assert one.activation.offset == other.activation.offset, one.name
        np.testing.assert_allclose(one.activation.scale, other.activation.scale, rtol=1e-5, err_msg=one.name)


def test_the_onnx_graph_has_the_integers_of_the_air_file(network: FloatNetwork, tmp_path: Path) -> None:
    from amct_mindspore.air import read_air

    quantized = _quantize(network)
    quantized.export(ExportFormat.AIR, tmp_path / "model.air", {})
    told, arrays = read_air((tmp_path / "model.air").read_bytes())
    assert (told["kind"], told["shapes"]) == ("ptq", [[len(IMAGES), 3, 32, 32]])
    for layer in quantized.layers:
        np.testing.assert_array_equal(layer.weight.values, arrays[f"{layer.layer.name}.weight"])


def test_what_amct_has_written_is_kept(network: FloatNetwork, tmp_path: Path) -> None:
    quantized = _quantize(network)
    assert set(quantized.own_files) == {"config.json", "calibration_record.txt", "amct_mindspore.log"}
    record = tmp_path / "record.txt"
    record.write_bytes(quantized.own_files["calibration_record.txt"])
    assert [layer.name for layer in load_record(record).layers] == ["conv1", "conv2", "depthwise", "end_point"]
    assert b"Generate AIR file" in quantized.own_files["amct_mindspore.log"]


def test_the_configuration_says_what_was_asked_for(network: FloatNetwork) -> None:
    quant = default_config(network.topology, skip=["depthwise"])
    quant = replace(
        _changed(quant, "conv2", ActivationConfig(search_range=(0.8, 1.2), search_step=0.1, asymmetric=False)),
        skip_fusion_layers=("conv1",),
    )
    quantized = _quantize(network, quant)
    written = json.loads(quantized.own_files["config.json"])
    assert written["conv2"]["activation_quant_params"] == {
        **{"max_percentile": 0.999999, "min_percentile": 0.999999, "search_range": [0.8, 1.2], "search_step": 0.1},
        "asymmetric": False,
    }
    assert [name for name in ("conv1", "depthwise") if written[name]["quant_enable"]] == ["conv1"]
    assert quantized.record["conv2"].activation.offset == 0
    assert quantized.record["conv1"].skip_fusion


def test_what_amct_cannot_is_refused_before_it_is_called(network: FloatNetwork) -> None:
    quant = _changed(default_config(network.topology), "conv2", ActivationConfig(algo=ActAlgo.HFMG))
    with pytest.raises(InputError, match="layer conv2: hfmg") as refused:
        _quantize(network, quant)
    assert "--backend native" in str(refused.value.hint)


def test_a_layer_that_amct_does_not_list_stays_in_float(
    network: FloatNetwork, amct: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = amct.create_quant_config

    def shorter(config_file: str, *arguments: Any, **named: Any) -> None:
        create(config_file, *arguments, **named)
        document = json.loads(Path(config_file).read_text())
        del document["conv2"]
        Path(config_file).write_text(json.dumps(document))

    monkeypatch.setattr(amct, "create_quant_config", shorter)
    reporter = Reporter()
    record = _quantize(network, reporter=reporter).record
    assert [layer.name for layer in record.layers] == ["conv1", "depthwise", "end_point"]
    assert reporter.warnings == ["conv2 stays in float: amct_mindspore does not quantize it"]


def _raising(*_arguments: Any, **_named: Any) -> None:
    message = "E19999: Inner Error!"
    raise RuntimeError(message)


@pytest.mark.parametrize("function", ["create_quant_config", "quantize_model", "save_model"])
def test_a_failure_names_the_function_and_leaves_the_process_as_it_was(
    network: FloatNetwork, amct: Any, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    monkeypatch.setattr(amct, function, _raising)
    before = Path.cwd(), sys.stdout, mindspore.get_context("mode"), os.environ.get("DUMP_AMCT_RECORD")
    with pytest.raises(InputError, match=rf"amct_mindspore\.{function}: RuntimeError: E19999"):
        _quantize(network)
    assert before == (Path.cwd(), sys.stdout, mindspore.get_context("mode"), os.environ.get("DUMP_AMCT_RECORD"))


def test_a_release_without_a_record_is_told(network: FloatNetwork, amct: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    save = amct.save_model

    def forgetful(*arguments: Any) -> None:
        monkeypatch.delenv("DUMP_AMCT_RECORD")
        save(*arguments)
        os.environ["DUMP_AMCT_RECORD"] = "1"

    monkeypatch.setattr(amct, "save_model", forgetful)
    with pytest.raises(InputError, match=r"left no record.*model\.air"):
        _quantize(network)


def test_a_package_that_cannot_be_imported_is_unavailable(network: FloatNetwork, tmp_path: Path) -> None:
    (tmp_path / "amct_mindspore.py").write_text("raise ImportError('libge.so: cannot open')")
    sys.modules.pop("amct_mindspore")
    sys.path.insert(0, str(tmp_path))
    try:
        with pytest.raises(UnavailableError, match="cannot open"):
            _quantize(network)
    finally:
        sys.path.remove(str(tmp_path))


def test_retraining_begins_at_the_record_or_at_the_configured_clips(network: FloatNetwork) -> None:
    backend, record = AmctBackend(batch_size=4), _quantize(network).record
    config = default_retrain_config(network.topology)
    layers = tuple(
        replace(item, activation=UlqConfig(clip_max=3.0, clip_min=-3.0)) if item.name == "conv2" else item
        for item in config.layers
    )
    retraining = backend.retrain(network=network, config=replace(config, layers=layers), initial=record)
    state = {name: float(item.asnumpy().ravel()[0]) for name, item in retraining.state().items() if "clip" in name}
    entry = record["conv1"].activation
    assert state["conv1.ulq.clip_max"] == pytest.approx((127 - entry.offset) * entry.scale, rel=1e-6)
    assert state["conv1.ulq.clip_min"] == pytest.approx((-128 - entry.offset) * entry.scale, rel=1e-6)
    assert (state["conv2.ulq.clip_max"], state["conv2.ulq.clip_min"]) == (3.0, -3.0)


def test_half_precision_is_not_in_what_is_saved(network: FloatNetwork) -> None:
    retraining = AmctBackend(batch_size=4).retrain(
        network=network, config=default_retrain_config(network.topology), initial=_quantize(network).record
    )
    retraining.cell.to_float(mindspore.float16)  # as on an NPU
    finished = retraining.finish()
    assert set(finished.own_files) == {"retrain_quant_config.json", "amct_mindspore.log"}
    assert b"Generate AIR file" in finished.own_files["amct_mindspore.log"]
