"""A network that ``fetch-model --what definition`` got: it loads, or the message names the import that is gone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from amctq.errors import InputError
from amctq.networks.registry import find_model
from amctq.plugins import load_factory

DEFINITION = Path(__file__).with_name("definition") / "resnet.py"


def test_a_definition_file_of_mindspore_1_loads() -> None:
    Path("src").mkdir()
    shutil.copy(DEFINITION, "src/resnet.py")
    spec = find_model("src/resnet.py:resnet50")
    names = {parameter.name for parameter in spec.build(7).get_parameters()}
    assert spec.name == "resnet50"
    assert {"layer1.0.down_sample_layer.0.weight", "layer1.0.down_sample_layer.1.gamma", "end_point.bias"} <= names


@pytest.mark.parametrize(
    ("line", "says", "hint"),
    [
        (
            "import mindspore.dataset.vision.c_transforms as C",
            "imports mindspore.dataset.vision.c_transforms, which MindSpore 2",
            "import mindspore.dataset.vision instead",
        ),
        (
            "from mindspore.ops import NoSuchOperator",
            "imports mindspore.ops.NoSuchOperator, which MindSpore",
            "write the",
        ),
        (
            "from no_such_package import ed",
            "imports no_such_package, which is not installed",
            "pip install no_such_package",
        ),
        ("raise ImportError('libfoo.so')", "raised ImportError: libfoo.so", "run it by itself"),
    ],
)
def test_an_import_that_is_gone_is_named_with_its_line(line: str, says: str, hint: str) -> None:
    Path("gone.py").write_text(f'"""A network."""\n\n{line}\n')
    with pytest.raises(InputError) as refused:
        load_factory("gone.py:resnet50", option="--model")
    assert says in refused.value.message
    assert hint in str(refused.value.hint)
    if "imports" in says:
        assert "gone.py, line 3, imports" in refused.value.message
