"""Networks that are no classifiers of images: several inputs and outputs, other metrics and losses."""

from __future__ import annotations

import configparser
import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from amctq.inference.metrics.own import TAKEN_NAMES
from tests.cli import tasks
from tests.command import amctq, amctq_here
from tests.runs import Runs, ptq

TASKS = Path(tasks.__file__)
SMALL = ("--calib-images", 16, "--batch-size", 8, "--allow-poor-float", "--num-classes")

Options = Callable[..., tuple[object, ...]]


@pytest.fixture(scope="module")
def of(runs: Runs) -> Options:
    """The options that name a network of tasks.py, its checkpoint and its dataset."""

    def make(folder: Path) -> None:
        import mindspore

        for name in ("two_inputs", "two_outputs", "autoencoder", "sentences"):
            mindspore.set_seed(1)
            mindspore.save_checkpoint(getattr(tasks, name)(), str(folder / f"{name}.ckpt"))

    folder = runs.made("tasks", make)

    def options(name: str, dataset: str, classes: int = 10) -> tuple[object, ...]:
        network = ("--model", f"{TASKS}:{name}", "--ckpt", folder / f"{name}.ckpt", "--dataset", f"{TASKS}:{dataset}")
        return (*network, *SMALL, classes)

    return options


def test_two_inputs_by_order_and_by_name(of: Options) -> None:
    """The samples are the same, and so are the files; MindIR and the deploy file keep both inputs."""
    data = ptq(of("two_inputs", "tuples"), "--export", "onnx,mindir,ascend", "--output-dir", "one").data
    ptq(of("two_inputs", "dictionaries"), "--output-dir", "other", "--placement", "ascend")
    one, other = (Path(folder, "two_inputs_quant.onnx").read_bytes() for folder in ("one", "other"))
    assert one == other
    model = onnx.load_model_from_string(one)
    assert [item.name for item in model.graph.input] == ["picture", "numbers"]
    assert {layer["name"] for layer in data["quantization"]["layers"]} == {"convolution", "dense", "end_point"}
    assert data["model"]["inputs"]["numbers"] == {"shape": [4], "dtype": "float32"}
    assert "--input_shape=picture:1,3,16,16;numbers:1,4" in data["atc"]["command"]
    agreement = data["files"]["ascend"]["agreement"]
    assert agreement["argmax_differences"] == 0
    assert agreement.keys() - {"top1", "top5"} <= set(TAKEN_NAMES)
    for file in ("--onnx one/two_inputs_quant.onnx", "--mindir one/two_inputs_quant.mindir"):
        for dataset in ("tuples", "dictionaries"):
            option, path = file.split()
            done = amctq_here("evaluate", option, path, "--dataset", f"{TASKS}:{dataset}", "--json")
            assert done.code == 0, done.stderr
            assert done.data["accuracy"]["images"] == tasks.SAMPLES


def test_two_outputs_without_a_metric(of: Options) -> None:
    data = ptq(of("two_outputs", "unlabelled"), "--export", "onnx,mindir,fakequant").data
    assert data["accuracy"] is None
    outputs = data["fidelity"]["outputs"]
    assert [output["output"] for output in outputs] == ["output_0", "output_1"]
    assert all(output["sqnr_db"] > 20 and output["cosine"] > 0.99 for output in outputs)
    assert all(check["passed"] for check in data["checks"])


def test_an_autoencoder_is_measured_in_decibels(of: Options) -> None:
    done = amctq("ptq", *of("autoencoder", "itself"), "--metric", "psnr", "--max-drop", "0.5")
    assert done.code == 0, done.stderr
    assert "PSNR, dB" in done.stdout
    report = json.loads(Path("results/report.json").read_text())
    accuracy = report["accuracy"]
    assert accuracy["metric"]["key"] == "psnr"
    assert accuracy["psnr_drop"] == pytest.approx(accuracy["float"]["psnr"] - accuracy["int8"]["psnr"], abs=1e-3)
    low, high = accuracy["psnr_drop_95"]
    assert low <= accuracy["psnr_drop"] <= high
    own = amctq_here("evaluate", *of("autoencoder", "itself")[:6], "--metric", f"{TASKS}:brightness", "--json")
    assert own.code == 0, own.stderr
    assert own.data["accuracy"]["metric"]["key"] == "brightness"
    assert own.data["accuracy"]["brightness"] <= 0
    assert own.data["accuracy"].keys() - {"brightness"} <= set(TAKEN_NAMES)


def test_a_metric_of_tiny_values_has_the_digits_that_these_need(of: Options) -> None:
    options = (*of("autoencoder", "itself"), "--metric", f"{TASKS}:tiny", "--export", "onnx,mindir")
    done = amctq("ptq", *options)
    assert done.code == 0, done.stderr
    report = json.loads(Path("results/report.json").read_text())
    accuracy = report["accuracy"]
    before, after = accuracy["float"]["tiny"], accuracy["int8"]["tiny"]
    assert 0 != before != after
    assert accuracy["tiny_drop"] == pytest.approx(before - after, rel=1e-3)
    assert f"tiny {after:.4g}, " in done.stdout
    assert f"{before:.4g}" in done.stdout
    assert "0.0000" not in done.stdout
    page = Path("results/report.html").read_text()
    assert f"{after:.4g}" in page
    done = amctq("ptq", *options, "--max-drop", "-1", "--force")
    assert done.code == 5
    assert f"drop {accuracy['tiny_drop']:.4g}, allowed -1" in done.stderr


def test_words_and_their_mask(of: Options) -> None:
    """The table of the embedding is one of the layers. It has a scale for each of its 50 rows, and no activation."""
    data = ptq(of("sentences", "words", 3)).data
    layers = {layer["name"]: layer for layer in data["quantization"]["layers"]}
    assert layers.keys() == {"embedding", "dense", "end_point"}
    assert layers["embedding"]["type"] == "Embedding"
    assert (layers["embedding"]["scale_d"], layers["embedding"]["weight_scales"]) == (None, 50)
    assert data["quantization"]["left_in_float"] == []
    assert all(check["passed"] for check in data["checks"])
    (table,) = json.loads(Path("results/placement.json").read_text())["tables"]
    assert (table["table"], len(table["scale_w"])) == ("embedding", 50)
    assert data["model"]["inputs"]["mask"] == {"shape": [12], "dtype": "bool"}
    model = onnx.load("results/sentences_quant.onnx")
    assert [item.name for item in model.graph.input] == ["ids", "mask"]
    assert {item.dims[0]: item.data_type for item in model.graph.initializer if list(item.dims) == [50, 32]} == {
        50: onnx.TensorProto.INT8
    }


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--skip-layer", "embed*"), "skipped by --skip-layer embed*"),
        (
            ("--placement", "ascend"),
            "an embedding table (placement ascend quantizes only layers that read activations)",
        ),
        (("--export", "fakequant"), "an embedding table (--export fakequant cannot hold it)"),
    ],
)
def test_where_a_table_stays_in_float(of: Options, options: tuple[str, ...], reason: str) -> None:
    network = of("sentences", "words", 3)
    planned = amctq_here("ptq", *network, *options, "--dry-run", "--json").data
    kept = {layer["name"] for layer in planned["layers"] if layer["quantized"]}
    assert kept == {"dense", "end_point"}
    done = ptq(network, *options)
    assert {"name": "embedding", "reason": reason} in done.data["quantization"]["left_in_float"]
    assert {layer["name"] for layer in done.data["quantization"]["layers"]} == kept


def test_a_table_has_8_bits_whatever_the_layers_have(of: Options) -> None:
    network = of("sentences", "words", 3)
    done = amctq_here("ptq", *network, "--layer-bits", "*=4", "--dry-run", "--json")
    widths = {layer["name"]: layer["weight_bits"] for layer in done.data["layers"]}
    assert widths == {"dense": 4, "end_point": 4, "embedding": 8}
    done = amctq_here("ptq", *network, "--layer-bits", "embedding=4", "--dry-run", "--json")
    assert done.code == 2
    assert "embedding is an embedding table, which has 8 bits" in done.envelope["errors"][0]["message"]


@pytest.mark.parametrize(
    ("network", "options"),
    [
        (("sentences", "words", 3), ()),
        (("sentences", "words", 3), ("--skip-layer", "embed*", "--weight-bits", "4")),
        (("autoencoder", "itself"), ("--weight-bits", "4", "--weight-algo", "gptaq")),
    ],
    ids=["table", "table in float", "transposed"],
)
def test_the_written_configuration_repeats_the_run(
    of: Options, network: tuple[str | int, ...], options: tuple[str, ...]
) -> None:
    """Of layers too that AMCT lacks: a table of embeddings, transposed convolutions, a Dense with a scale a channel."""
    first = ptq(of(*network), *options, "--output-dir", "first").data
    again = ptq(of(*network), "--config", "first/config.json", "--output-dir", "again").data
    assert again["quantization"]["layers"] == first["quantization"]["layers"]
    for file in (f"{network[0]}_quant.onnx", "config.json"):
        assert (Path("again") / file).read_bytes() == (Path("first") / file).read_bytes()


def test_the_converter_of_mindspore_lite_leaves_a_table_in_float_too(of: Options) -> None:
    """What the report calls float is what the converter is told to skip."""
    done = ptq(of("sentences", "words", 3), "--target", "mslite")
    assert [layer["name"] for layer in done.data["quantization"]["left_in_float"]] == ["embedding"]
    config = configparser.ConfigParser()
    config.read("results/sentences_mslite.cfg")
    (skipped,) = config["common_quant_param"]["skip_quant_node"].split(",")
    assert "embedding" in skipped


@pytest.mark.parametrize(
    ("network", "lacks", "reason"),
    [
        (("sentences", "words", 3), "embedding", "an embedding table"),
        (("autoencoder", "itself"), "up", "a transposed convolution"),
    ],
    ids=["table", "transposed"],
)
def test_a_configuration_that_does_not_name_what_amct_lacks_leaves_it_in_float(
    of: Options, network: tuple[str | int, ...], lacks: str, reason: str
) -> None:
    """As AMCT's own files; the run says why, and the file that it writes says the same again."""
    ptq(of(*network), "--output-dir", "named")
    document = json.loads(Path("named/config.json").read_text())
    del document[lacks]
    Path("config.json").write_text(json.dumps(document))
    first = ptq(of(*network), "--config", "config.json", "--output-dir", "first").data
    reason += " (AMCT's file of --config cannot hold it)"
    assert first["quantization"]["left_in_float"] == [{"name": lacks, "reason": reason}]
    assert f"{lacks} stays in float: {reason}" in first["warnings"]
    again = ptq(of(*network), "--config", "first/config.json", "--output-dir", "again").data
    assert again["quantization"] == first["quantization"]


def test_training_with_a_loss_of_ones_own_goes_on_to_the_same_bytes(of: Options) -> None:
    """The dataset augments by epoch. Three steps in one go, and one step and then two."""
    options = ("qat", *of("autoencoder", "itself"), "--metric", "psnr", "--loss", f"{TASKS}:squared", "--json")
    steps = ("--batch-size", "16", "--lr-max", "1e-4", "--save-every-steps", "1")
    whole = amctq(*options, *steps, "--max-steps", "3", "--output-dir", "whole")
    assert whole.code == 0, whole.stderr
    accuracy, training = whole.data["accuracy"], whole.data["training"]
    assert training["loss"] == f"{TASKS}:squared"
    assert accuracy["training_network"]["psnr"] == pytest.approx(accuracy["int8"]["psnr"], abs=0.2)
    assert training["last"].keys() == {"epoch", "psnr"}
    lines = [json.loads(line) for line in Path("whole/history.jsonl").read_text().splitlines()]
    assert [line["psnr"] for line in lines if "loss" not in line]
    assert {key for line in lines for key in line} - {"psnr"} <= set(TAKEN_NAMES)
    kept = Path("whole/checkpoints")
    for path in kept.iterdir():
        if path.name not in {"step-00000000.ckpt", "step-00000001.ckpt"}:
            path.unlink()
    before = {path.name: path.read_bytes() for path in Path("whole").glob("*.onnx")}
    again = amctq(*options, *steps, "--max-steps", "3", "--output-dir", "whole", "--resume")
    assert again.code == 0, again.stderr
    assert again.data["timing"]["resumed_at_step"] == 1
    assert {path.name: path.read_bytes() for path in Path("whole").glob("*.onnx")} == before


@pytest.mark.parametrize(
    ("network", "dataset", "more", "code", "said"),
    [
        ("two_inputs", "one_key_missing", (), 3, "construct() of the network takes picture, numbers"),
        ("two_inputs", "key_misspelt", (), 3, "pictures may be picture"),
        ("two_inputs", "unlabelled", (), 3, "construct() of the network takes picture, numbers"),
        ("two_inputs", "other_dtype", (), 3, "input 1 of sample 40 is float64"),
        ("two_inputs", "other_shape", (), 3, "sample 40 is"),
        ("autoencoder", "tuples", (), 3, "construct() of the network takes picture"),
        ("autoencoder", "itself", ("--max-drop", "1"), 2, "no metric measures this network"),
        ("autoencoder", "itself", ("--metric", "nonsense"), 2, "--metric nonsense"),
        ("autoencoder", "unlabelled", ("--metric", "mae"), 3, "no targets"),
        ("autoencoder", "itself", ("--metric", "top1"), 3, "top-1 needs (N, classes)"),
        ("autoencoder", "itself", ("--metric", "miou"), 3, "--metric miou"),
        ("autoencoder", "of_several_shapes", ("--metric", "miou"), 3, "targets that make no array"),
        ("autoencoder", "not_counted", ("--metric", "miou"), 3, "no pixel counts"),
        ("autoencoder", "itself", ("--metric", "map50"), 3, "--metric map50: the network gives"),
    ],
)
def test_what_does_not_fit_is_refused(
    of: Options, network: str, dataset: str, more: tuple[str, ...], code: int, said: str
) -> None:
    done = amctq_here(
        "ptq", *of(network, dataset), *more, "--calib-images", "44" if "other" in dataset else "16", "--json"
    )
    assert done.code == code, done.stderr
    (error,) = done.envelope["errors"]
    assert said in f"{error['message']} {error['hint']}"
    assert not Path("results").exists()


@pytest.mark.parametrize("command", ["ptq", "qat", "evaluate"])
@pytest.mark.parametrize("name", ["images", "metric", "epoch"])
def test_a_metric_called_as_another_field_is_refused(of: Options, name: str, command: str) -> None:
    options = of("autoencoder", "itself")
    done = amctq_here(command, *options[: 6 if command == "evaluate" else None], "--metric", f"m.py:{name}", "--json")
    assert done.code == 2, done.stderr
    (error,) = done.envelope["errors"]
    assert f"{name} is another field" in error["message"]
    assert "mean_difference" in error["hint"]


@pytest.mark.parametrize(
    ("loss", "code", "said"),
    [
        (None, 2, "name your own: --loss"),
        ("not_a_scalar", 3, "expected a scalar"),
        ("not_a_number", 3, "nan"),
        ("constant", 3, "its gradient is 0 for all 4 parameters"),
        ("whole_number", 3, "gives int32, which has no gradient"),
        ("through_numpy", 3, "its gradient is 0"),
        ("raises", 3, "raises"),
        ("absent", 3, "no function absent"),
    ],
)
def test_a_loss_is_tried_before_anything_is_measured(of: Options, loss: str | None, code: int, said: str) -> None:
    named = () if loss is None else ("--loss", f"{TASKS}:{loss}")
    done = amctq_here("qat", *of("autoencoder", "itself"), "--metric", "psnr", *named, "--max-steps", "1", "--json")
    assert done.code == code, done.stderr
    (error,) = done.envelope["errors"]
    assert said in f"{error['message']} {error['hint']}"
    assert not list(Path().glob("retrain_result/*.onnx"))


def test_training_without_targets_is_refused(of: Options) -> None:
    done = amctq_here(
        "qat", *of("autoencoder", "untargeted"), "--loss", f"{TASKS}:squared", "--max-steps", "1", "--json"
    )
    assert done.code == 3, done.stderr
    assert "the targets of the training samples are None" in done.envelope["errors"][0]["message"]


def test_a_loss_of_half_precision_trains(of: Options) -> None:
    options = ("--metric", "psnr", "--loss", f"{TASKS}:half_precision", "--max-steps", "1", "--no-distill", "--json")
    done = amctq("qat", *of("autoencoder", "itself"), *options)
    assert done.code == 0, done.stderr
