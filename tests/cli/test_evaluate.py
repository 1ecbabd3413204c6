"""``amctq evaluate``."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from tests.command import Finished, Own, Shared, amctq, amctq_here


@pytest.fixture
def quantized(resnet20_run: tuple[Finished, Path]) -> tuple[Path, float]:
    """An INT8 file, and the top-1 on 300 images that its report names."""
    done, output = resnet20_run
    return output / "resnet20_quant.onnx", done.data["accuracy"]["int8"]["top1"]


def test_a_file_says_itself_how_its_images_are_prepared(shared: Shared, quantized: tuple[Path, float]) -> None:
    path, top1 = quantized
    done = amctq("evaluate", "--dataset", shared.data, "--onnx", path, "--eval-images", "300", "--json")
    assert done.code == 0, done.stderr
    assert done.data["accuracy"]["top1"] == top1
    assert done.envelope["artifacts"] == []
    assert list(Path.cwd().iterdir()) == []


def test_a_foreign_file_takes_options(shared: Shared, quantized: tuple[Path, float]) -> None:
    path, top1 = quantized
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, "foreign.onnx")
    arguments = ["--dataset", shared.data, "--onnx", "foreign.onnx", "--eval-images", "300", "--json"]
    stated = amctq_here("evaluate", *arguments, "--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225")
    assert stated.data["accuracy"]["top1"] == top1
    by_model = amctq_here("evaluate", *arguments, "--model", "resnet20")
    assert by_model.data["accuracy"]["top1"] == top1


def test_a_checkpoint(shared: Shared) -> None:
    done = amctq("evaluate", *shared.network("resnet20"), "--eval-images", "200")
    assert done.code == 0, done.stderr
    assert "top-1" in done.stdout
    assert "of 200 images (test_batch.bin)" in done.stdout


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


def test_a_network_of_ones_own(own: Own) -> None:
    done = amctq_here("evaluate", *own.network("small"), "--json")
    assert done.code == 0, done.stderr
    assert done.data["accuracy"]["images"] == 64
