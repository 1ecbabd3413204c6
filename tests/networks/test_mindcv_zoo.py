"""Networks of mindcv, where it is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from amctq.errors import UnavailableError, UsageError
from amctq.networks.registry import find_model
from tests.command import amctq_here
from tests.runs import ptq

INSTALLED = importlib.util.find_spec("mindcv") is not None
NETWORK = "mobilenet_v3_small_100"
OWN = f"""
import mindcv

def {NETWORK}(num_classes):
    return mindcv.create_model("{NETWORK}", num_classes=num_classes)
"""


def test_what_is_no_name_is_refused() -> None:
    with pytest.raises(UsageError, match="expected mindcv:"):
        find_model("mindcv:a/b")


@pytest.mark.skipif(INSTALLED, reason="mindcv is installed")
def test_without_mindcv_the_message_says_how_to_install_it() -> None:
    with pytest.raises(UnavailableError) as caught:
        find_model(f"mindcv:{NETWORK}")
    assert "pip install" in str(caught.value.hint)
    done = amctq_here("ptq", "--model", f"mindcv:{NETWORK}", "--ckpt", "a.ckpt", "--dataset", "data", "--json")
    assert done.code == 4


@pytest.mark.skipif(not INSTALLED, reason="mindcv is not installed: it wants an environment of its own")
def test_a_name_and_a_function_give_the_same_integers(images: Path) -> None:
    import mindcv
    import mindspore

    mindspore.set_seed(1)
    mindspore.save_checkpoint(mindcv.create_model(NETWORK, num_classes=1000), "net.ckpt")
    Path("own.py").write_text(OWN)
    few = ("--calib-images", 4, "--eval-images", 4, "--batch-size", 4, "--allow-poor-float")
    for model, more in ((f"mindcv:{NETWORK}", ()), (f"own.py:{NETWORK}", ("--num-classes", 1000))):
        network = ("--model", model, "--ckpt", "net.ckpt", "--dataset", images)
        data = ptq(network, *few, *more, "--output-dir", model.partition(":")[0]).data
        assert (data["model"]["num_classes"], data["model"]["input_shape"]) == (1000, [3, 224, 224])
    one, other = (Path(folder, f"{NETWORK}_quant.onnx").read_bytes() for folder in ("mindcv", "own.py"))
    assert one == other
    wrong = amctq_here("ptq", "--model", "mindcv:mobilnet_v3_small_100", *network[2:], "--json")
    assert (wrong.code, wrong.envelope["errors"][0]["hint"]) == (3, f"did you mean mindcv:{NETWORK}?")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of a few images, in two classes."""
    from PIL import Image

    for number in range(10):
        place = tmp_path / "images" / f"class{number % 2}"
        place.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((256, 256), 40 + 8 * number).convert("RGB").save(place / f"{number}.png")
    return tmp_path / "images"
