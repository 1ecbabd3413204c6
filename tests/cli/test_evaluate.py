"""``amctq evaluate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from amctq.files import sha256_of
from tests.command import Finished, Own, Shared, amctq, amctq_here


@pytest.fixture
def quantized(resnet20_run: tuple[Finished, Path]) -> tuple[Path, float]:
    """An INT8 file, and the top-1 on 100 images that its report names."""
    done, output = resnet20_run
    return output / "resnet20_quant.onnx", done.data["accuracy"]["int8"]["top1"]


def test_a_file_says_itself_how_its_images_are_prepared(shared: Shared, quantized: tuple[Path, float]) -> None:
    path, top1 = quantized
    done = amctq("evaluate", "--dataset", shared.data, "--onnx", path, "--eval-images", "100", "--json")
    assert done.code == 0, done.stderr
    assert done.data["accuracy"]["top1"] == top1
    assert done.envelope["artifacts"] == []
    assert list(Path.cwd().iterdir()) == []


def test_a_foreign_file_takes_options(shared: Shared, quantized: tuple[Path, float]) -> None:
    path, top1 = quantized
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, "foreign.onnx")
    arguments = ["--dataset", shared.data, "--onnx", "foreign.onnx", "--eval-images", "100", "--json"]
    stated = amctq_here("evaluate", *arguments, "--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225")
    assert stated.data["accuracy"]["top1"] == top1
    by_model = amctq_here("evaluate", *arguments, "--model", "resnet20")
    assert by_model.data["accuracy"]["top1"] == top1


@pytest.mark.parametrize(("kept", "label"), [(("amctq.model",), "warning: "), ((), "")], ids=["amctq", "foreign"])
def test_what_is_assumed_of_a_file_is_said(
    kept: tuple[str, ...], label: str, shared: Shared, quantized: tuple[Path, float]
) -> None:
    """A file of amctq lacks the key where its images were prepared already, and where somebody has taken it out."""
    model = onnx.load(quantized[0])
    known = {item.key: item.value for item in model.metadata_props}
    del model.metadata_props[:]
    for key in kept:
        model.metadata_props.add(key=key, value=known[key])
    onnx.save(model, "model.onnx")
    arguments = ["evaluate", "--dataset", shared.data, "--onnx", "model.onnx", "--eval-images", "32"]
    said = f"{label}model.onnx does not say how its images are prepared: taken are mean 0.4914, 0.4822, 0.4465 and std "
    done = amctq_here(*arguments)
    assert any(line.startswith(said) for line in done.stderr.splitlines()), done.stderr
    done = amctq_here(*arguments, "--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225")
    assert "does not say" not in done.stderr


def test_a_checkpoint(shared: Shared) -> None:
    done = amctq("evaluate", *shared.network("resnet20"), "--eval-images", "50")
    assert done.code == 0, done.stderr
    assert "top-1" in done.stdout
    assert "measured on: 50 images (test_batch.bin)" in done.stdout


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        ([], 2, "one of --ckpt, --onnx and --mindir"),
        (["--onnx", "a", "--ckpt", "b"], 2, "one of --ckpt, --onnx and --mindir"),
        (["--onnx", "a", "--mindir", "b"], 2, "one of --ckpt, --onnx and --mindir"),
        (["--onnx", "none.onnx"], 3, "cannot read none.onnx"),
        (["--onnx", "empty.onnx"], 3, "onnxruntime does not take empty.onnx"),
        (["--onnx", "{file}", "--image-size", "64"], 3, "the model takes image tensor(float)"),
        (["--onnx", "{file}", "--eval-images", "0"], 2, "nothing to evaluate"),
        (["--onnx", "{file}", "--eval-images", "10001"], 2, "10,000 images"),
    ],
    ids=["neither", "both", "both-files", "missing", "empty", "other-size", "no-images", "too-many"],
)
def test_bad_input(options: list[str], code: int, says: str, shared: Shared, quantized: tuple[Path, float]) -> None:
    Path("empty.onnx").touch()
    words = [word.format(file=quantized[0]) for word in options]
    done = amctq_here("evaluate", "--dataset", shared.data, "--json", *words)
    assert done.code == code
    assert says in done.envelope["errors"][0]["message"]
    assert "Traceback" not in done.stderr


def test_the_report_names_the_content_that_was_measured(
    shared: Shared, quantized: tuple[Path, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights beside the model, not those of the same name in the current directory; each with its sum."""
    for folder in ("mine", "other"):
        Path(folder).mkdir()
        model = onnx.load(quantized[0])
        onnx.save(model, f"{folder}/model.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    Path("other", "weights").write_bytes(bytes(Path("mine", "weights").stat().st_size))
    monkeypatch.chdir("other")
    options = ("--dataset", shared.data, "--eval-images", "100", "--json")
    done = amctq_here("evaluate", "--onnx", "../mine/model.onnx", *options)
    assert done.code == 0, done.stderr
    assert done.data["accuracy"]["top1"] == quantized[1]
    files = [Path("../mine/model.onnx"), Path("../mine/weights")]
    assert done.data["loaded"] == [
        {"path": str(path), "bytes": path.stat().st_size, "sha256": sha256_of(path)} for path in files
    ]
    files[1].write_bytes(files[1].read_bytes()[:-1])
    done = amctq_here("evaluate", "--onnx", "../mine/model.onnx", *options)
    assert done.code == 3
    assert "its external data are" in done.envelope["errors"][0]["message"]


@pytest.mark.parametrize(
    ("key", "value"), [("std", [0.2, 0.0, 0.2]), ("std", [0.2, 0.2]), ("mean", None), ("image_size", 0)]
)
def test_damaged_metadata_are_refused(key: str, value: object, shared: Shared, quantized: tuple[Path, float]) -> None:
    model = onnx.load(quantized[0])
    (item,) = (item for item in model.metadata_props if item.key == "amctq.preprocessing")
    item.value = json.dumps(json.loads(item.value) | {key: value})
    onnx.save(model, "damaged.onnx")
    done = amctq_here("evaluate", "--onnx", "damaged.onnx", "--dataset", shared.data, "--json")
    assert done.code == 3
    assert f"damaged.onnx: its metadata amctq.preprocessing, {key}: found" in done.envelope["errors"][0]["message"]


@pytest.mark.parametrize("option", ["--onnx", "--mindir", "--ckpt"])
def test_a_pointer_of_git_lfs_is_refused_by_what_it_is(option: str, shared: Shared) -> None:
    Path("model.ckpt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 94512\n")
    done = amctq_here("evaluate", option, "model.ckpt", "--model", "resnet20", "--dataset", shared.data, "--json")
    assert done.code == 3
    assert "is a pointer of git-lfs, expected the file itself (94512 bytes)" in done.envelope["errors"][0]["message"]


def test_a_network_of_ones_own(own: Own) -> None:
    done = amctq_here("evaluate", *own.network("small"), "--json")
    assert done.code == 0, done.stderr
    assert done.data["accuracy"]["images"] == 64


@pytest.mark.parametrize(
    ("nodes", "output", "says"),
    [
        pytest.param([("Cast", "f", {"to": 8})], ("tensor", 8, ["N", 3]), "tensor(string)", id="text"),
        pytest.param([("Cast", "f", {"to": 9})], ("tensor", 9, ["N", 3]), "the network gives bool (16, 3)", id="truth"),
        pytest.param([("SequenceConstruct", "f", {})], ("sequence", 1, ["N", 3]), "seq(tensor(float))", id="list"),
        pytest.param([("ReduceSum", "f", {"keepdims": 0})], ("tensor", 1, None), "outputs of 0 axes", id="number"),
        pytest.param(
            [("Concat", "f f", {"axis": 0})], ("tensor", 1, ["N", "C"]), "a class for each of 32", id="too-many"
        ),
    ],
)
def test_a_model_that_gives_no_scores(
    nodes: list[tuple[str, str, dict[str, Any]]], output: tuple[str, int, list[str | int] | None], says: str
) -> None:
    from onnx import helper

    kind, element, shape = output
    described = getattr(helper, f"make_tensor{'_sequence' * (kind == 'sequence')}_value_info")("y", element, shape)
    (operator, inputs, attributes), *_ = nodes
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["x"], ["p"]),
            helper.make_node("Flatten", ["p"], ["f"]),
            helper.make_node(operator, inputs.split(), ["y"], **attributes),
        ],
        "g",
        [helper.make_tensor_value_info("x", 1, ["N", 3, 8, 8])],
        [described],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "x.onnx")
    Path("x.onnx").rename("x.json")  # whose name means nothing
    np.savez("images.npz", images=np.ones((16, 3, 8, 8), np.float32), labels=np.zeros(16, np.int64))
    done = amctq_here("evaluate", "--onnx", "x.json", "--dataset", "images.npz", "--json")
    assert done.code == 3, done.stderr
    assert says in done.envelope["errors"][0]["message"]
