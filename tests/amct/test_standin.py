"""The stand-in itself: the sample's two flows, call for call, and what it refuses."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mindspore
import numpy as np
import pytest
from mindspore import Tensor, nn

from amctq.runtime import graph_mode
from tests.amct.standin_path import standin_importable
from tests.backends.networks import Small

INPUT = np.random.default_rng(0).uniform(0, 1, [4, 3, 32, 32]).astype(np.float32)
# The manual's signatures (docs/en/reference.md, "amct_mindspore").
SIGNATURES = {
    "set_logging_level": "(print_level='info', save_level='info')",
    "create_quant_config": "(config_file, network, *input_data, skip_layers=None, activation_offset=True, "
    "config_defination=None)",
    "quantize_model": "(config_file, network, *input_data)",
    "save_model": "(file_name, network, *input_data)",
    "create_quant_retrain_config": "(config_file, network, *input_data, config_defination=None)",
    "create_quant_retrain_model": "(config_file, network, initializer, *input_data)",
    "restore_quant_retrain_model": "(config_file, network, checkpoint_path, *input_data)",
    "save_quant_retrain_model": "(config_file, file_name, network, *input_data)",
    "UlqInitializer": "(scale_offset_record)",
}


@pytest.fixture
def amct() -> Iterator[Any]:
    """The package, in graph mode, as the sample sets it."""
    with standin_importable(), graph_mode():
        import amct_mindspore

        yield amct_mindspore


def _network() -> Small:
    mindspore.set_seed(1)
    network = Small(10)
    network.set_train(False)
    return network


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature_is_the_manuals(amct: Any, name: str) -> None:
    place = importlib.import_module("amct_mindspore.initializer") if name == "UlqInitializer" else amct
    signature = inspect.signature(getattr(place, name))
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    assert str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty)) == SIGNATURES[name]


def test_the_samples_two_flows_run_to_the_end(amct: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """resnet50_sample.py, then resnet50_retrain_sample.py, with a smaller network."""
    from amct_mindspore.initializer import UlqInitializer
    from amct_mindspore.quantize_tool import create_quant_config, quantize_model, save_model

    monkeypatch.setenv("DUMP_AMCT_RECORD", "1")
    labels = np.arange(4, dtype=np.int32)
    dataset = mindspore.dataset.NumpySlicesDataset((INPUT, labels), shuffle=False).batch(4)
    loss = nn.SoftmaxCrossEntropyWithLogits(sparse=True, reduction="mean")
    network = _network()
    create_quant_config("./config.json", network, INPUT)
    calibration_network = quantize_model("./config.json", network, INPUT)
    calibration_network.set_train(False)
    model = mindspore.train.Model(calibration_network, loss_fn=loss, metrics={"top_1_accuracy", "top_5_accuracy"})
    model.eval(dataset, dataset_sink_mode=False)
    save_model("results/resnet50_quant", calibration_network, INPUT)
    assert {path.name for path in Path().iterdir()} == {
        *("config.json", "amct_log", "results", "kernel_meta", "amct_dump")
    }
    record = Path("amct_dump/calibration_record.txt").read_text()
    assert re.findall('key: "(.*)"', record) == ["conv1", "conv2", "depthwise", "end_point"]
    assert len(re.findall("scale_w", record)) == 8 + 8 + 8 + 1
    assert "Generate AIR file" in Path("amct_log/amct_mindspore.log").read_text()

    network = _network()
    network.set_train(True)
    initializer = UlqInitializer("./amct_dump/calibration_record.txt")
    amct.create_quant_retrain_config("retrain_quant_config.json", network, INPUT)
    retrained = amct.create_quant_retrain_model("retrain_quant_config.json", network, initializer, INPUT)
    before = {item.name: item.asnumpy().copy() for item in retrained.trainable_params()}
    optimizer = nn.Momentum(retrained.trainable_params(), 0.01, 0.9)
    mindspore.train.Model(retrained, loss_fn=loss, optimizer=optimizer).train(1, dataset, dataset_sink_mode=False)
    moved = {
        item.name for item in retrained.trainable_params() if not np.array_equal(item.asnumpy(), before[item.name])
    }
    assert any("clip_max" in name for name in moved)
    assert any("weight" in name for name in moved)
    mindspore.save_checkpoint(retrained, "trained.ckpt")
    retrained.to_float(mindspore.float32)
    amct.save_quant_retrain_model("retrain_quant_config.json", "resnet50_quant_retrain", retrained, INPUT)
    again = amct.restore_quant_retrain_model("retrain_quant_config.json", _network(), "trained.ckpt", INPUT)
    amct.save_quant_retrain_model("retrain_quant_config.json", "restored", again, INPUT)
    assert Path("restored.air").read_bytes() == Path("resnet50_quant_retrain.air").read_bytes()

    Path("retrain_quant_config.json").write_text(Path("retrain_quant_config.json").read_text() + "\n")
    with pytest.raises(ValueError, match="not the file"):
        amct.save_quant_retrain_model("retrain_quant_config.json", "late", again, INPUT)


def test_a_missing_or_second_batch_is_refused(amct: Any) -> None:
    network = _network()
    with pytest.raises(FileNotFoundError):
        amct.quantize_model("config.json", network, INPUT)
    amct.create_quant_config("config.json", network, INPUT, skip_layers=["conv2"], activation_offset=False)
    with pytest.raises(RuntimeError, match="does not come from quantize_model"):
        amct.save_model("model", network, INPUT)
    calibrated = amct.quantize_model("config.json", network, INPUT)
    with pytest.raises(RuntimeError, match="one batch"):
        amct.save_model("model", calibrated, INPUT)
    for _ in range(2):
        calibrated(Tensor(INPUT)).asnumpy()
    with pytest.raises(RuntimeError, match="has seen 2"):
        amct.save_model("model", calibrated, INPUT)
    assert not Path("model.air").exists()


def test_wrong_calls_are_refused(amct: Any) -> None:
    network = _network()
    with pytest.raises(TypeError):
        amct.create_quant_config("config.json", network, INPUT, batch_num=1)
    with pytest.raises(ValueError, match="input_data is missing"):
        amct.create_quant_config("config.json", network)
    with pytest.raises(ValueError, match="skip_layers: nowhere"):
        amct.create_quant_config("config.json", network, INPUT, skip_layers=["nowhere"])
    amct.create_quant_config("config.json", network, INPUT)
    text = Path("config.json").read_text()
    for old, new, says in (
        ('"version":1', '"version":1,"batch_num":1', "unknown key batch_num"),
        ('"channel_wise":false', '"channel_wise":true', "channel_wise must be False"),
        ('"quant_enable":true', '"quant_enable":1', "must be bool"),
    ):
        Path("config.json").write_text(text.replace(old, new))
        with pytest.raises(ValueError, match=says):
            amct.quantize_model("config.json", network, INPUT)
    with pytest.raises(TypeError, match="UlqInitializer"):
        amct.create_quant_retrain_model("config.json", network, "amct_dump/calibration_record.txt", INPUT)
    mindspore.set_context(mode=mindspore.PYNATIVE_MODE)
    with pytest.raises(RuntimeError, match="GRAPH_MODE"):
        amct.create_quant_config("config.json", network, INPUT)
