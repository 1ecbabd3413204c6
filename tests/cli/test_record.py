"""--record: which BatchNorm AMCT folded is found out or said by --config, and a record of other weights is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest

from amctq.amct_files.record_text import load_record
from tests.command import Own, Shared, amctq_here
from tests.export.deploy_file import read_back
from tests.golden import golden
from tests.runs import ptq

QUICK = ("--eval-images", 32, "--calib-images", 8, "--force")


@pytest.fixture(scope="module")
def skipfusion(shared: Shared) -> Path:
    """What AMCT itself wrote: conv1 keeps its BatchNorm, layer3.2.conv2 is float. Its record says nothing of conv1."""
    folder = golden(shared, "skipfusion")
    assert "skip_fusion" not in (folder / "record.txt").read_text()
    return folder


def _plain(data: dict[str, object]) -> list[str]:
    """The convolutions that are quantized without their BatchNorm."""
    quantization = data["quantization"]
    assert isinstance(quantization, dict)
    layers = quantization["layers"]
    return [layer["name"] for layer in layers if layer["type"] == "Conv2d" and not layer["batch_norm_folded"]]


@pytest.mark.parametrize("with_config", [False, True], ids=["by-scales", "by-config"])
def test_amcts_record_gives_amcts_integers(with_config: bool, skipfusion: Path, shared: Shared) -> None:
    config = ("--config", skipfusion / "config.json") if with_config else ()
    record = skipfusion / "record.txt"
    done = ptq(shared.network("resnet20"), *QUICK, "--record", record, *config, "--export", "ascend")
    assert _plain(done.data) == ["conv1"]
    by = "--config says" if with_config else "the record's weight scales show"
    says = f"BatchNorm, as {by}: folded into 17 layers, and not into 1: conv1"
    assert says in Path("results/amctq.log").read_text()
    assert (says in done.data["warnings"]) is not with_config
    expected = read_back(onnx.load(skipfusion / "resnet20_deploy_model.onnx"))
    found = read_back(onnx.load("results/resnet20_quant_deploy.onnx"))
    assert len(found) == len(expected) == 19
    for name, layer in expected.items():
        ours = found["end_point" if name == "linear" else name]
        assert (ours.scale_d, ours.offset_d) == (layer.scale_d, layer.offset_d), name
        assert np.array_equal(ours.weight, layer.weight), name
        assert np.array_equal(ours.scale_w, layer.scale_w), name
        if layer.bias is None:
            assert ours.bias is None, name
        else:
            assert ours.bias is not None, name
            assert np.array_equal(ours.bias, layer.bias), name
    # The record that is written says what AMCT's does not.
    written = load_record(Path("results/calibration_record.txt"))
    assert [entry.name for entry in written.layers if entry.skip_fusion] == ["conv1"]
    assert Path("results/config.json").exists() == with_config


def test_which_layers_kept_their_batch_norm_is_found_out(own: Own, shared: Shared) -> None:
    """4 bits, in a part of the network: what a configuration made, its record makes again without it."""
    config = json.loads(own.config.read_text())
    some = [name for name in config if "conv" in name and not name.startswith("layer2")]
    for name in some:
        config[name]["weight_quant_params"]["num_bits"] = 4
    Path("some.json").write_text(json.dumps(config | {"skip_fusion_layers": some}))
    network = shared.network("resnet20")
    options = ("--placement", "ascend", "--no-bias-correction", "--output-dir", "made")
    made = ptq(network, *QUICK, "--config", "some.json", *options)
    record = Path("made/calibration_record.txt").read_text()
    Path("amcts.txt").write_text(re.sub(r" *skip_fusion: true\n", "", record))
    done = ptq(network, *QUICK, "--record", "amcts.txt")
    assert sorted(_plain(done.data)) == sorted(_plain(made.data)) == some
    assert done.data["accuracy"] == made.data["accuracy"]
    for name in ("resnet20_quant.onnx", "calibration_record.txt"):
        assert Path("results", name).read_bytes() == Path("made", name).read_bytes()


def _refused(network: tuple[object, ...], *more: object) -> dict[str, str]:
    done = amctq_here("ptq", *network, *QUICK, "--json", *more)
    assert done.code == 3, done.stderr
    assert not Path("results").exists()
    (error,) = done.envelope["errors"]
    return dict(error)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, "conv1: the largest |weight / scale| is"),
        ({"skip_fusion_layers": ["conv1", "layer1.0.conv1"]}, "layer1.0.conv1: the largest |weight / scale| is"),
        (
            {"skip_fusion_layers": ["conv1"], "end_point": {"quant_enable": False}},
            "end_point is in the record, and the",
        ),
    ],
    ids=["default", "more-unfused", "less-quantized"],
)
def test_a_configuration_of_another_run_is_refused(
    change: dict[str, object], says: str, skipfusion: Path, shared: Shared
) -> None:
    document = json.loads((skipfusion / "config.json").read_text()) | {"skip_fusion_layers": []} | change
    if "end_point" in document:
        del document["linear"]
    Path("config.json").write_text(json.dumps(document))
    files = ("--record", skipfusion / "record.txt", "--config", "config.json")
    message = _refused(shared.network("resnet20"), *files)["message"]
    assert "are not of one run: " in message
    assert says in message


def test_a_record_of_another_checkpoint_is_refused(own: Own, shared: Shared) -> None:
    import mindspore

    parameters = mindspore.load_checkpoint(str(shared.checkpoint("resnet20")))
    name = "layer2.1.conv1.weight"
    parameters[name] = mindspore.Parameter(parameters[name].asnumpy() * np.float32(0.8))
    mindspore.save_checkpoint([{"name": key, "data": data} for key, data in parameters.items()], "other.ckpt")
    network = ("--dataset", shared.data, "--ckpt", "other.ckpt", "--model", "resnet20")
    error = _refused(network, "--record", own.record)
    message = re.sub(r"[\d.e+]+ (?=with BatchNorm|without,)", "… ", error["message"])
    assert message == (
        "the record does not fit this network: with the weights of other.ckpt, layer2.1.conv1: the largest "
        "|weight / scale| is … with BatchNorm folded in and … without, expected 127 to 128"
    )
    assert "checkpoint" in error["hint"]


def test_skip_fusion_that_the_scales_contradict_is_refused(own: Own, shared: Shared) -> None:
    text = own.record.read_text().replace("    act_type", "    skip_fusion: true\n    act_type", 1)
    Path("record.txt").write_text(text)
    message = _refused(shared.network("resnet20"), "--record", "record.txt")["message"]
    assert "has skip_fusion, but not the scales for it: conv1: the largest" in message


@pytest.mark.parametrize(("images", "batches", "said"), [(8, 1, None), (8, 2, "makes 1 batches"), (40, 2, None)])
def test_batch_num_and_calib_images(images: int, batches: int, said: str | None, own: Own, shared: Shared) -> None:
    Path("config.json").write_text(json.dumps(json.loads(own.config.read_text()) | {"batch_num": batches}))
    options = ("--eval-images", 100, "--config", "config.json", "--calib-images", images, "--json", "--dry-run")
    done = amctq_here("ptq", *shared.network("resnet20"), *options)
    if said is None:
        assert done.data["calibration_images"] == images
    else:
        assert done.code == 2
        assert said in done.envelope["errors"][0]["message"]


@pytest.mark.parametrize(("algo", "bits"), [("squant", 4), ("squant", 8), ("gptq", 4), ("gptq", 8)])
def test_integers_that_were_rounded_together_are_not_in_the_record(algo: str, bits: int, own: Own) -> None:
    """GPTQ's scales show it; SQuant's are those of ARQ, and only the configuration or the width tells."""
    network = own.network("small")
    how = ("--weight-bits", bits, "--weight-algo", algo, "--placement", "ascend", "--allow-poor-float")
    ptq(network, *QUICK, *how, "--output-dir", "first")
    record = ("--record", "first/calibration_record.txt")
    error = _refused(network, *record, "--config", "first/config.json", "--allow-poor-float")
    assert f"says that {algo} rounded" in error["message"]
    assert "--seed" in error["hint"]
    if algo == "gptq":
        assert "gptq" in _refused(network, *record, "--allow-poor-float")["hint"]
    else:
        warnings = ptq(network, *QUICK, "--allow-poor-float", *record).data["warnings"]
        assert any("the record does not say how weights below 8 bits" in text for text in warnings) is (bits < 8)
