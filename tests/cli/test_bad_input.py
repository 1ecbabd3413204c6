"""Bad input, one row each: exit code, what the message says, and nothing left.

Of each exit code one row is a command in a process of its own; the others run in this one.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.command import NETWORKS, Own, Shared, amctq, amctq_here, write_records


@dataclass(frozen=True)
class Worker:
    """Where a case may put things: an empty current directory, and the real files."""

    shared: Shared
    cwd: Path
    own: Own

    def truncated(self, source: Path, size: int) -> Path:
        target = self.cwd / source.name
        target.write_bytes(source.read_bytes()[:size])
        return target

    def edited(self, change: Callable[[dict[str, Any]], None]) -> Path:
        """The good configuration with a change."""
        document = json.loads(self.own.config.read_text())
        change(document)
        return self.written("config.json", json.dumps(document))

    def written(self, name: str, text: str) -> Path:
        path = self.cwd / name
        path.write_text(text)
        return path

    def changed_checkpoint(self, change: Callable[[dict[str, Any]], None]) -> Path:
        """The good checkpoint with a change of its parameters."""
        import mindspore

        parameters = dict(mindspore.load_checkpoint(str(self.shared.checkpoint("resnet20"))))
        change(parameters)
        path = self.cwd / "changed.ckpt"
        mindspore.save_checkpoint([{"name": name, "data": data} for name, data in parameters.items()], str(path))
        return path

    def resized_tensor(self, change: Callable[[bytes], bytes]) -> Path:
        """The good checkpoint with other bytes in its first tensor."""
        from mindspore.train.checkpoint_pb2 import Checkpoint

        message = Checkpoint.FromString(self.shared.checkpoint("resnet20").read_bytes())
        tensor = next(value.tensor for value in message.value if value.tag == "conv1.weight")
        tensor.tensor_content = change(tensor.tensor_content)
        path = self.cwd / "resized.ckpt"
        path.write_bytes(message.SerializeToString())
        return path


@dataclass(frozen=True, kw_only=True)
class Case:
    """One bad input.

    ``options`` gives the options that differ from a good command line; ``says`` must all stand in the message;
    ``process`` says that the command gets a process of its own.
    """

    id: str
    code: int
    says: tuple[str, ...]
    options: Callable[[Worker], dict[str, object]]
    process: bool = False


def _folder(place: Worker, **files: dict[str, int]) -> Path:
    folder = place.cwd / "data"
    folder.mkdir()
    for name, settings in files.items():
        write_records(folder / f"{name}.bin", **settings)
    return folder


def _damaged_records(place: Worker, size: int) -> Path:
    folder = _folder(place, test_batch={"images": 20})
    path = folder / "test_batch.bin"
    path.write_bytes(path.read_bytes()[:size])
    return folder


def _file(place: Worker, name: str) -> Path:
    path = place.cwd / name
    path.touch()
    return path


def _used(place: Worker, *names: str) -> Path:
    folder = place.cwd / "used"
    folder.mkdir()
    for name in names:
        (folder / name).write_text("former")
    return folder


def _set(*keys: str, to: object) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        for key in keys[:-1]:
            document = document[key]
        document[keys[-1]] = to

    return change


def _not_a_number(parameters: dict[str, Any]) -> None:
    import mindspore
    import numpy as np

    values = parameters["layer2.0.bn1.gamma"].asnumpy().copy()
    values[3] = np.nan
    parameters["layer2.0.bn1.gamma"] = mindspore.Tensor(values)


def _one_more(parameters: dict[str, Any]) -> None:
    parameters["layer9.conv1.weight"] = parameters["conv1.weight"]


def _own(factory: str, **more: object) -> Callable[[Worker], dict[str, object]]:
    """A network of tests/backends/networks.py on images of its own."""

    def options(place: Worker) -> dict[str, object]:
        own = {"model": f"{NETWORKS}:{factory}", "ckpt": place.own.checkpoint, "dataset": place.own.npz}
        return own | {"allow-poor-float": True} | more

    return options


def _data(text: str, name: str = "images") -> Callable[[Worker], dict[str, object]]:
    """A dataset factory of the user's own, for a network that takes 32 x 32."""

    def options(place: Worker) -> dict[str, object]:
        path = place.written("mydata.py", f"import numpy as np\n{text}\n")
        return _own("small")(place) | {"dataset": f"{path}:{name}"}

    return options


def _npz(**arrays: np.ndarray[Any, Any]) -> Callable[[Worker], dict[str, object]]:
    def options(place: Worker) -> dict[str, object]:
        path = place.cwd / "images.npz"
        np.savez(path, **arrays)
        return _own("small")(place) | {"dataset": path}

    return options


def _image_folder(place: Worker) -> Path:
    from PIL import Image

    for role, names in (("train", ("cat", "dog")), ("val", ("cat", "bird"))):
        for name in names:
            folder = place.cwd / "folder" / role / name
            folder.mkdir(parents=True)
            Image.new("RGB", (40, 40)).save(folder / "0.png")
    return place.cwd / "folder"


def _damaged_image(place: Worker) -> Path:
    """A class with one image that can be read."""
    from PIL import Image

    folder = place.cwd / "folder" / "cat"
    folder.mkdir(parents=True)
    Image.new("RGB", (40, 40)).save(folder / "good.png")
    for index in range(40):
        (folder / f"{index}.jpg").write_bytes(b"no image")
    return place.cwd / "folder"


def _of_amct(option: str, value: object) -> Callable[[Worker], dict[str, object]]:
    return lambda _: {"backend": "amct", "export": "air", option: value}


def _with_record(option: str, value: object) -> Callable[[Worker], dict[str, object]]:
    return lambda place: {"record": place.own.record, option: value}


ACTIVATION = "activation_quant_params"
INDEX = '{"metadata": {"total_size": 99}, "weight_map": {"conv1.weight": "model-00001-of-00002.safetensors"}}'
TORCH_FILES = Path(__file__).parents[1] / "networks" / "torch_files"
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'ab' * 32}\nsize 1129472\n"

CASES = [
    # dataset
    Case(
        id="dataset-missing",
        code=3,
        says=("no dataset at nowhere", "--dataset"),
        options=lambda _: {"dataset": "nowhere"},
    ),
    Case(
        id="dataset-is-a-file",
        code=3,
        says=("is a file", "folder"),
        options=lambda place: {"dataset": _file(place, "data")},
    ),
    Case(
        id="dataset-empty-folder",
        code=3,
        says=("no dataset in", "data_batch_1.bin"),
        options=lambda place: {"dataset": _folder(place)},
    ),
    Case(
        id="records-empty",
        code=3,
        says=("0 bytes", "3,073"),
        options=lambda place: {"dataset": _damaged_records(place, 0)},
    ),
    Case(
        id="records-truncated",
        code=3,
        says=("5,000 bytes", "3,073", "unpack it again"),
        options=lambda place: {"dataset": _damaged_records(place, 5000)},
    ),
    Case(
        id="records-label-10",
        code=3,
        says=("label 10", "expected 0 to 9"),
        options=lambda place: {"dataset": _folder(place, test_batch={"images": 40, "label": 10})},
    ),
    Case(
        id="no-test-file",
        code=3,
        says=("has no test images", "--eval-images 0"),
        options=lambda place: {"dataset": _folder(place, data_batch_1={"images": 40})},
    ),
    # checkpoint
    Case(id="ckpt-missing", code=3, says=("no checkpoint at none.ckpt",), options=lambda _: {"ckpt": "none.ckpt"}),
    Case(
        id="ckpt-is-a-folder",
        code=3,
        says=("is a folder", ".ckpt file"),
        options=lambda place: {"ckpt": place.shared.data},
    ),
    Case(id="ckpt-empty", code=3, says=("is empty",), options=lambda place: {"ckpt": _file(place, "x.ckpt")}),
    Case(
        id="ckpt-truncated",
        code=3,
        process=True,
        says=("damaged", "100,000 bytes"),
        options=lambda place: {"ckpt": place.truncated(place.shared.checkpoint("resnet20"), 100_000)},
    ),
    Case(
        id="ckpt-is-no-checkpoint",
        code=3,
        says=("not a MindSpore checkpoint",),
        options=lambda place: {"ckpt": place.written("readme.ckpt", "# What lies here")},
    ),
    Case(
        id="ckpt-of-another-network",
        code=3,
        says=("does not fit resnet20", "layer1.3.conv1.weight (16, 16, 3, 3)", "--model resnet56"),
        options=lambda place: {"ckpt": place.shared.checkpoint("resnet56")},
    ),
    Case(
        id="ckpt-of-other-classes",
        code=3,
        says=("end_point.weight is (10, 64), expected (100, 64)", "--num-classes 10"),
        options=lambda _: {"num-classes": 100},
    ),
    Case(
        id="ckpt-with-nan",
        code=3,
        says=("layer2.0.bn1.gamma holds NaN",),
        options=lambda place: {"ckpt": place.changed_checkpoint(_not_a_number)},
    ),
    Case(
        id="ckpt-one-parameter-missing",
        code=3,
        says=("missing end_point.bias (10,)",),
        options=lambda place: {"ckpt": place.changed_checkpoint(lambda parameters: parameters.pop("end_point.bias"))},
    ),
    Case(
        id="ckpt-one-parameter-too-many",
        code=3,
        says=("unknown layer9.conv1.weight (16, 3, 3, 3)",),
        options=lambda place: {"ckpt": place.changed_checkpoint(_one_more)},
    ),
    Case(
        id="ckpt-of-10-classes-for-1000",
        code=3,
        says=("end_point.bias is (10,), expected (1000,)", "--num-classes 10"),
        options=lambda place: {
            "num-classes": 1000,
            "model": "resnet50",
            "ckpt": place.shared.checkpoint("resnet50"),
            "image-size": 32,
        },
    ),
    Case(
        id="ckpt-tensor-too-long",
        code=3,
        process=True,
        says=("is damaged", "conv1.weight holds 2,576,816 bytes, expected 1,728 for Float32 [16, 3, 3, 3]"),
        options=lambda place: {"ckpt": place.resized_tensor(lambda content: content + bytes(2_575_088))},
    ),
    Case(
        id="ckpt-tensor-too-short",
        code=3,
        process=True,
        says=("is damaged", "conv1.weight holds 8 bytes, expected 1,728 for Float32 [16, 3, 3, 3]"),
        options=lambda place: {"ckpt": place.resized_tensor(lambda content: content[:8])},
    ),
    Case(
        id="ckpt-is-a-pointer",
        code=3,
        says=("x.ckpt is a pointer of git-lfs", "(1129472 bytes)", "git lfs pull"),
        options=lambda place: {"ckpt": place.written("x.ckpt", POINTER)},
    ),
    Case(
        id="ckpt-is-no-safetensors",
        code=3,
        says=("x.safetensors is damaged or not a safetensors checkpoint (3 bytes)",),
        options=lambda place: {"ckpt": place.written("x.safetensors", "any")},
    ),
    Case(
        id="ckpt-is-an-index",
        code=3,
        says=("model.safetensors.index.json is the index of a checkpoint in several files", "join the files"),
        options=lambda place: {"ckpt": place.written("model.safetensors.index.json", INDEX)},
    ),
    Case(
        id="ckpt-is-malicious",
        code=3,
        says=("malicious.pth holds a call of posix.system", "it was not called"),
        options=lambda _: {"ckpt": TORCH_FILES / "malicious.pth"},
    ),
    Case(
        id="ckpt-is-a-pickled-module",
        code=3,
        says=("holds a whole pickled module of class __main__.Net", "torch.save(model.state_dict()"),
        options=lambda _: {"ckpt": TORCH_FILES / "module.pth"},
    ),
    Case(
        id="ckpt-with-other-names",
        code=3,
        says=("state.pth does not fit resnet20", "missing conv1.weight", "(nearest: conv.weight)", "--name-map"),
        options=lambda _: {"ckpt": TORCH_FILES / "state.pth"},
    ),
    Case(
        id="name-map-of-an-unknown-name",
        code=3,
        says=("map.json: 'layer1.0.conv1.weigth': no parameter of the network", "did you mean layer1.0.conv1.weight"),
        options=lambda place: {"name-map": place.written("map.json", '{"layer1.0.conv1.weigth": "conv1.weight"}')},
    ),
    Case(
        id="name-map-to-an-unknown-name",
        code=3,
        says=(
            "map.json: 'conv1.weight': no tensor of the checkpoint is called conv.weight",
            "did you mean conv1.weight",
        ),
        options=lambda place: {"name-map": place.written("map.json", '{"conv1.weight": "conv.weight"}')},
    ),
    Case(
        id="name-map-is-no-object",
        code=3,
        says=("map.json holds a list, expected a JSON object", "--name-map takes"),
        options=lambda place: {"name-map": place.written("map.json", "[]")},
    ),
    Case(
        id="name-map-missing",
        code=3,
        says=("none.json", "--name-map"),
        options=lambda _: {"name-map": "none.json"},
    ),
    # configuration and record
    Case(
        id="config-missing",
        code=3,
        says=("--config none.json: no such file",),
        options=lambda _: {"config": "none.json"},
    ),
    Case(
        id="config-is-no-json",
        code=3,
        says=("is no JSON", "config.json"),
        options=lambda place: {"config": place.written("c.json", "{version: 1}")},
    ),
    Case(
        id="config-typo-in-key",
        code=3,
        says=("activation_ofset", "did you mean activation_offset?"),
        options=lambda place: {"config": place.edited(_set("activation_ofset", to=True))},
    ),
    Case(
        id="config-typo-in-layer",
        code=3,
        says=("layer1.0.conv9", "did you mean layer1.0.conv"),
        options=lambda place: {"config": place.edited(_set("layer1.0.conv9", to={}))},
    ),
    Case(
        id="config-layer-the-network-lacks",
        code=3,
        says=("layer4.0.conv1: neither a layer of this network",),
        options=lambda place: {"config": place.edited(_set("layer4.0.conv1", to={}))},
    ),
    Case(
        id="config-value-out-of-range",
        code=3,
        says=("conv1.activation_quant_params.max_percentile: found 1.5", "at most 1.0"),
        options=lambda place: {"config": place.edited(_set("conv1", ACTIVATION, "max_percentile", to=1.5))},
    ),
    Case(
        id="config-version-2",
        code=3,
        says=("version: found 2, expected 1",),
        options=lambda place: {"config": place.edited(_set("version", to=2))},
    ),
    Case(
        id="config-layer-twice",
        code=3,
        says=("duplicate key conv1",),
        options=lambda place: {"config": place.written("c.json", '{"version":1,"conv1":{},"conv1":{}}')},
    ),
    Case(
        id="config-channel-wise-dense",
        code=3,
        says=("end_point.weight_quant_params.channel_wise: true for a Dense", "false"),
        options=lambda place: {
            "config": place.edited(_set("end_point", "weight_quant_params", "channel_wise", to=True))
        },
    ),
    Case(
        id="config-leaves-no-layer",
        code=3,
        says=("no layer is left",),
        options=lambda place: {"config": place.written("c.json", '{"version":1}')},
    ),
    Case(
        id="config-observer-and-parameters-of-another",
        code=3,
        says=("max_percentile: belongs to ifmr, and act_algo is hfmg", "take one of the two out"),
        options=lambda place: {
            "config": place.edited(_set("conv1", ACTIVATION, to={"act_algo": "hfmg", "max_percentile": 0.999}))
        },
    ),
    Case(
        id="config-number-of-bins",
        code=3,
        says=("num_of_bins: found 1000", "1024, 2048, 4096, 8192"),
        options=lambda place: {
            "config": place.edited(_set("conv1", ACTIVATION, to={"act_algo": "hfmg", "num_of_bins": 1000}))
        },
    ),
    Case(
        id="config-and-option",
        code=2,
        says=("--act-algo and --config",),
        options=lambda place: {"config": place.own.config, "act-algo": "minmax"},
    ),
    Case(
        id="config-batch-num-and-option",
        code=2,
        says=("--calib-images 8 makes 1 batches of 32 images, and batch_num", "is 3"),
        options=lambda place: {"config": place.edited(_set("batch_num", to=3)), "calib-images": 8},
    ),
    Case(
        id="config-and-record-of-two-runs",
        code=3,
        says=("--record", "--config", "are not of one run: conv1 has offset_d", "asymmetric is false"),
        options=lambda place: {
            "config": place.edited(_set("conv1", ACTIVATION, "asymmetric", to=False)),
            "record": place.own.record,
        },
    ),
    Case(
        id="record-of-another-checkpoint",
        code=3,
        says=(
            "the record does not fit this network: with the weights of",
            "conv1: the largest |weight / scale| is",
            "expected 127 to 128",
        ),
        options=lambda place: {
            "record": place.written("r.txt", re.sub(r"(scale_w: 0\.)0", r"\g<1>1", place.own.record.read_text()))
        },
    ),
    Case(
        id="record-missing", code=3, says=("--record none.txt: no such file",), options=lambda _: {"record": "none.txt"}
    ),
    Case(
        id="record-is-no-record",
        code=3,
        says=("no calibration record",),
        options=lambda place: {"record": place.own.config},
    ),
    Case(
        id="record-of-another-network",
        code=3,
        says=("the record's layer layer4.0.conv1 is not in this network", "did you mean"),
        options=lambda place: {
            "record": place.written(
                "r.txt", place.own.record.read_text().replace('"layer3.2.conv2"', '"layer4.0.conv1"')
            )
        },
    ),
    Case(
        id="record-with-other-channels",
        code=3,
        process=True,
        says=("the record's layer conv1 has 15 weight scales, expected 1 or 16",),
        options=lambda place: {
            "record": place.written("r.txt", re.sub(r"    scale_w: .*\n", "", place.own.record.read_text(), count=1))
        },
    ),
    Case(
        id="skip-layer-matches-nothing",
        code=2,
        says=("--skip-layer layr1.*", "matches no layer"),
        options=lambda _: {"skip-layer": "layr1.*"},
    ),
    Case(
        id="skip-after-names-nothing",
        code=2,
        says=("--skip-after layr1", "no layer, cell or tensor of that name", "did you mean layer1?"),
        options=lambda _: {"skip-after": "layr1"},
    ),
    Case(
        id="skip-after-with-nothing-behind",
        code=2,
        says=("--skip-after end_point", "no layer is behind it"),
        options=lambda _: {"skip-after": "end_point"},
    ),
    Case(
        id="skip-after-the-input",
        code=3,
        says=("no layer is left",),
        options=lambda _: {"skip-after": "conv1", "skip-layer": "conv1"},
    ),
    Case(id="skip-layer-matches-all", code=3, says=("no layer is left",), options=lambda _: {"skip-layer": "*"}),
    # networks of one's own
    Case(
        id="model-file-missing",
        code=3,
        says=("nowhere.py: no such file",),
        options=lambda _: {"model": "nowhere.py:small"},
    ),
    Case(
        id="model-module-missing",
        code=3,
        says=("importing no_such_package raised ModuleNotFoundError",),
        options=lambda _: {"model": "no_such_package:small"},
    ),
    Case(id="model-no-such-function", code=3, says=("has no function smal",), options=_own("smal")),
    Case(id="model-not-callable", code=3, says=("has no function not_a_function",), options=_own("not_a_function")),
    Case(
        id="model-raises",
        code=3,
        process=True,
        says=("RuntimeError: no weights for 10 classes",),
        options=_own("raises"),
    ),
    Case(
        id="model-gives-no-cell", code=3, says=("it gave a str, expected a mindspore.nn.Cell",), options=_own("no_cell")
    ),
    Case(
        id="model-file-does-not-import",
        code=3,
        says=("importing", "ZeroDivisionError"),
        options=lambda place: {"model": f"{place.written('net.py', '1 / 0')}:net"},
    ),
    Case(
        id="model-with-control-flow",
        code=3,
        says=("control flow", "without if, while or for"),
        options=_own("branching"),
    ),
    Case(
        id="max-drop-without-a-metric",
        code=2,
        says=("--max-drop 1: no metric measures this network", "--metric"),
        options=_own("two_heads", **{"max-drop": 1}),
    ),
    # data of one's own
    Case(
        id="factory-raises",
        code=3,
        says=("it raised ValueError: no disk",),
        options=_data("def images():\n    raise ValueError('no disk')"),
    ),
    Case(
        id="factory-needs-an-index",
        code=3,
        says=("it needs index, and amctq passes role, epoch",),
        options=_data("def images(role, epoch, index):\n    return [(np.zeros((3, 32, 32), np.float32), 0)][index]"),
    ),
    Case(
        id="factory-raises-late",
        code=3,
        says=("iterating it raised OSError: disk gone",),
        options=_data(
            "class images:\n    def __len__(self):\n        return 90\n    def __getitem__(self, index):\n"
            "        if index > 80:\n            raise OSError('disk gone')\n"
            "        return np.zeros((3, 32, 32), np.float32), 0"
        ),
    ),
    Case(
        id="factory-shuffles",
        code=3,
        says=("is not the same each time", "do not shuffle"),
        options=_data(
            "def images():\n    images = np.random.default_rng().normal(size=(90, 3, 32, 32)).astype(np.float32)\n"
            "    yield from zip(images, range(90))"
        ),
    ),
    Case(
        id="factory-shuffles-a-list",
        code=3,
        says=("sample 0 is not the same each time", "do not shuffle"),
        options=_data(
            "def images():\n    images = np.random.default_rng().normal(size=(90, 3, 32, 32)).astype(np.float32)\n"
            "    return list(zip(images, range(90)))"
        ),
    ),
    Case(
        id="factory-can-be-read-once",
        code=3,
        says=("it gave 0 of 8 samples this time", "each time it is called"),
        options=_data("once = iter([(np.zeros((3, 32, 32), np.float32), 0)] * 90)\ndef images():\n    return once"),
    ),
    Case(
        id="factory-ends-the-process",
        code=3,
        says=("raised SystemExit: 0",),
        options=_data("raise SystemExit(0)"),
    ),
    Case(
        id="factory-without-any-role",
        code=3,
        says=("None for role 'train' and for role 'test'",),
        options=_data("def images(role):\n    return None"),
    ),
    Case(
        id="npz-roles-of-two-shapes",
        code=3,
        says=("training samples", "(N, 3, 16, 16), test samples image float32 (N, 3, 10, 10)"),
        options=_npz(
            x_train=np.ones((9, 3, 16, 16), np.float32),
            y_train=np.zeros(9, int),
            x_test=np.ones((9, 3, 10, 10), np.float32),
            y_test=np.zeros(9, int),
        ),
    ),
    Case(
        id="dataset-name-too-long",
        code=3,
        says=("File name too long",),
        options=lambda _: {"dataset": "x" * 300},
    ),
    Case(
        id="ckpt-with-another-suffix",
        code=3,
        says=("does not end in .ckpt", "rename"),
        options=lambda place: {"ckpt": place.written("weights.bin", "x")},
    ),
    Case(
        id="config-with-infinity",
        code=3,
        says=("Infinity is no JSON number",),
        options=lambda place: {
            "config": place.edited(_set("conv1", ACTIVATION, "search_range", to=[0.7, float("inf")]))
        },
    ),
    Case(
        id="config-with-too-many-candidates",
        code=3,
        says=("search_step: found 1e-09", "10,000 candidates"),
        options=lambda place: {"config": place.edited(_set("conv1", ACTIVATION, "search_step", to=1e-9))},
    ),
    Case(
        id="record-with-tiny-scales",
        code=3,
        says=("the record does not fit this network", "far too small"),
        options=lambda place: {
            "record": place.written("r.txt", re.sub(r"(scale_[dw]): .*", r"\1: 1.2e-7", place.own.record.read_text()))
        },
    ),
    Case(id="max-drop-nan", code=2, says=("--max-drop nan",), options=lambda _: {"max-drop": "nan"}),
    Case(
        id="factory-yields-nothing",
        code=3,
        says=("it gives no samples",),
        options=_data("def images():\n    return []"),
    ),
    Case(
        id="factory-gives-no-iterable",
        code=3,
        says=("'int' object is not iterable",),
        options=_data("def images():\n    return 3"),
    ),
    Case(
        id="factory-yields-no-pairs",
        code=3,
        says=("item 0 is not a pair",),
        options=_data("def images():\n    return [1, 2, 3]"),
    ),
    Case(
        id="factory-yields-bytes",
        code=3,
        says=("image 0 is uint8 (3, 32, 32)", "float32 (C, H, W)"),
        options=_data("def images():\n    return [(np.zeros((3, 32, 32), np.uint8), 0)] * 40"),
    ),
    Case(
        id="factory-yields-a-flat-image",
        code=3,
        says=("cannot export this network to MindIR", "Conv2D"),
        options=_data("def images():\n    return [(np.zeros(3072, np.float32), 0)] * 90"),
    ),
    Case(
        id="factory-changes-the-shape",
        code=3,
        says=("is image float32 (N, 3, 16, 16), others image float32 (N, 3, 32, 32)",),
        options=_data("def images():\n    return [(np.zeros((3, s, s), np.float32), 0) for s in [32] * 2 + [16] * 90]"),
    ),
    Case(
        id="factory-shape-the-network-does-not-take",
        code=3,
        says=("cannot export this network to MindIR", "Conv2D"),
        options=_data("def images():\n    return [(np.zeros((5, 32, 32), np.float32), 0)] * 90"),
    ),
    Case(
        id="factory-label-is-no-class",
        code=3,
        says=("the label of image 0 is",),
        options=_data("def images():\n    return [(np.zeros((3, 32, 32), np.float32), -1)] * 90"),
    ),
    Case(
        id="factory-label-above-the-classes",
        code=3,
        says=("class 10", "10 classes", "--num-classes"),
        options=_data("def images():\n    return [(np.zeros((3, 32, 32), np.float32), 10)] * 90"),
    ),
    Case(
        id="factory-with-nan",
        code=3,
        says=("NaN or infinity",),
        options=_data("def images():\n    return [(np.full((3, 32, 32), np.nan, np.float32), 0)] * 90"),
    ),
    Case(
        id="factory-and-image-size",
        code=2,
        says=("--image-size", "taken as they are"),
        options=lambda place: (
            _data("def images():\n    return [(np.zeros((3, 32, 32), np.float32), 0)] * 90")(place) | {"image-size": 64}
        ),
    ),
    Case(
        id="factory-is-missing",
        code=3,
        says=("--dataset", "has no function imgs"),
        options=_data("def images():\n    return []", name="imgs"),
    ),
    Case(
        id="npz-damaged",
        code=3,
        says=("damaged or not a .npz file", "numpy.savez"),
        options=lambda place: _own("small")(place) | {"dataset": place.written("x.npz", "PK")},
    ),
    Case(id="npz-with-other-names", code=3, says=("holds a, b", "x_train"), options=_npz(a=np.ones(3), b=np.ones(3))),
    Case(
        id="npz-with-other-shapes",
        code=3,
        says=("images is float64 (9, 3, 32, 32)", "float32"),
        options=_npz(images=np.ones((9, 3, 32, 32)), labels=np.zeros(9, int)),
    ),
    Case(
        id="npz-with-other-labels",
        code=3,
        says=("labels is int64 (8,), expected (9,)",),
        options=_npz(images=np.ones((9, 3, 32, 32), np.float32), labels=np.zeros(8, int)),
    ),
    Case(
        id="folder-with-other-classes",
        code=3,
        says=("do not have the same classes: bird, dog",),
        options=lambda place: {"dataset": _image_folder(place)},
    ),
    Case(
        id="folder-with-a-damaged-image",
        code=3,
        says=(".jpg is damaged or not an image",),
        options=lambda place: {"dataset": _damaged_image(place), "eval-images": 10},
    ),
    # options
    Case(id="mean-of-two", code=2, says=("--mean", "three numbers"), options=lambda _: {"mean": "0.5,0.5"}),
    Case(id="std-of-zero", code=2, says=("--std", "above 0"), options=lambda _: {"std": "0.2,0,0.2"}),
    Case(
        id="model-unknown", code=2, says=("resnt20", "did you mean resnet20?"), options=lambda _: {"model": "resnt20"}
    ),
    Case(
        id="calib-images-0",
        code=2,
        says=("--calib-images 0: expected at least 1", "ranges of activations", "--weight-algo squant"),
        options=lambda _: {"calib-images": 0, "weight-algo": "squant"},
    ),
    Case(
        id="calib-images-too-many",
        code=2,
        says=("--calib-images 20001", "20,000 images"),
        options=lambda _: {"calib-images": 20001},
    ),
    Case(
        id="eval-images-too-many",
        code=2,
        says=("--eval-images 10001", "10,000 images"),
        options=lambda _: {"eval-images": 10001},
    ),
    Case(id="eval-images-no-number", code=2, says=("--eval-images", "some"), options=lambda _: {"eval-images": "some"}),
    Case(id="image-size-tiny", code=2, says=("--image-size",), options=lambda _: {"image-size": 4}),
    Case(id="batch-size-0", code=2, says=("--batch-size",), options=lambda _: {"batch-size": 0}),
    Case(id="seed-negative", code=2, says=("--seed",), options=lambda _: {"seed": -1}),
    Case(
        id="mindir-of-a-layer-of-ones-own",
        code=3,
        says=("own.json", "conv1", "cannot be quantized", "OwnConv", "--export mindir"),
        options=lambda place: (
            _own("own_layer", export="onnx,mindir")(place)
            | {"config": place.written("own.json", '{"version": 1, "conv1": {"quant_enable": true}}')}
        ),
    ),
    Case(id="export-unknown", code=2, says=("--export", "tflite", "onnx"), options=lambda _: {"export": "onnx,tflite"}),
    Case(
        id="max-drop-without-accuracy",
        code=2,
        says=("--max-drop", "--eval-images 0"),
        options=lambda _: {"max-drop": 1, "eval-images": 0},
    ),
    Case(
        id="placement-ort-with-a-record",
        code=2,
        says=("--placement ort", "--record", "placement ascend"),
        options=lambda place: {"placement": "ort", "record": place.own.record},
    ),
    Case(
        id="placement-ort-for-ascend",
        code=2,
        says=("--placement ort", "--export ascend"),
        options=lambda _: {"placement": "ort", "export": "onnx,ascend"},
    ),
    Case(
        id="weight-bits-5", code=2, says=("--weight-bits 5", "8, 7, 6, 4, 3, 2"), options=lambda _: {"weight-bits": 5}
    ),
    Case(
        id="weight-bits-and-config",
        code=2,
        says=("--weight-bits and --config",),
        options=lambda place: {"config": place.own.config, "weight-bits": 4},
    ),
    Case(
        id="weight-algo-and-config",
        code=2,
        says=("--weight-algo and --config",),
        options=lambda place: {"config": place.own.config, "weight-algo": "mse"},
    ),
    Case(
        id="weight-bits-and-record",
        code=2,
        says=("--weight-bits and --record",),
        options=lambda place: {"record": place.own.record, "weight-bits": 4},
    ),
    Case(
        id="bias-correction-and-record",
        code=2,
        says=("--bias-correction and --record",),
        options=lambda place: {"record": place.own.record, "bias-correction": True},
    ),
    Case(
        id="equalize-and-record",
        code=2,
        says=("--equalize and --record",),
        options=lambda place: {"record": place.own.record, "equalize": True},
    ),
    *(
        Case(
            id=f"{algo}-and-record",
            code=2,
            says=("--weight-algo and --record",),
            options=_with_record("weight-algo", algo),
        )
        for algo in ("mse", "gptq", "squant")
    ),
    Case(
        id="arq-rule-without-arq",
        code=2,
        says=("--arq-rule ascend", "--weight-algo is mse"),
        options=lambda _: {"arq-rule": "ascend", "weight-algo": "mse"},
    ),
    Case(
        id="int4-of-8-bits",
        code=2,
        says=("--weight-storage int4 and --weight-bits 8", "add --weight-bits 4"),
        options=lambda _: {"weight-storage": "int4"},
    ),
    Case(
        id="int4-of-7-bits",
        code=2,
        process=True,
        says=("--weight-storage int4 and --weight-bits 7",),
        options=lambda _: {"weight-storage": "int4", "weight-bits": 7},
    ),
    Case(
        id="int4-of-a-config-of-8-bits",
        code=2,
        says=("--weight-storage int4", "config.json has no layer with weights of 4 bits"),
        options=lambda place: {"weight-storage": "int4", "config": place.own.config},
    ),
    Case(
        id="int4-of-a-record-of-8-bits",
        code=2,
        says=("--weight-storage int4", "calibration_record.txt has no layer with weights of 4 bits"),
        options=lambda place: {"weight-storage": "int4", "record": place.own.record},
    ),
    Case(
        id="int4-for-avx2",
        code=2,
        says=("--isa avx2 and --weight-storage int4", "exact on every CPU"),
        options=lambda _: {"isa": "avx2", "weight-storage": "int4", "weight-bits": 4},
    ),
    Case(
        id="int8-activations-for-avx2",
        code=2,
        says=("--isa avx2 and --act-type int8",),
        options=lambda _: {"isa": "avx2", "act-type": "int8"},
    ),
    # output directory
    Case(
        id="output-is-a-file",
        code=2,
        says=("is a file", "--output-dir"),
        options=lambda place: {"output-dir": _file(place, "out")},
    ),
    Case(
        id="output-holds-former-files",
        code=2,
        says=("resnet20_quant.onnx, report.json", "--force"),
        options=lambda place: {"output-dir": _used(place, "resnet20_quant.onnx", "report.json", "notes.txt")},
    ),
    Case(
        id="output-cannot-be-written",
        code=8,
        process=True,
        says=("cannot write /proc/amctq",),
        options=lambda _: {"output-dir": "/proc/amctq/x"},
    ),
    # what is not here
    Case(
        id="air-on-a-cpu",
        code=4,
        process=True,
        says=("--export air", "no NPU", "--export onnx"),
        options=lambda _: {"export": "air"},
    ),
    Case(
        id="amct-missing",
        code=4,
        says=("amct_mindspore is not installed", "--backend native"),
        options=lambda _: {"backend": "amct", "export": "air"},
    ),
    *(
        Case(
            id=f"amct-cannot-{option}",
            code=2,
            says=(f"--{option} {'on' if value is True else value}: --backend amct has {has}", "the other --backend"),
            options=_of_amct(option, value),
        )
        for option, value, has in (
            ("weight-bits", 3, "8"),
            ("weight-algo", "gptq", "arq"),
            ("bias-correction", True, "off"),
            ("equalize", True, "off"),
            ("isa", "avx2", "vnni"),
            ("act-algo", "minmax", "ifmr"),
            ("device", "cpu", "ascend"),
            ("export", "onnx", "air"),
        )
    ),
    Case(
        id="amct-cannot-int4",
        code=2,
        says=("--backend amct has",),
        options=lambda _: {"backend": "amct", "export": "air", "weight-bits": 4, "weight-storage": "int4"},
    ),
    Case(id="npu-missing", code=4, says=("no NPU", "--device cpu"), options=lambda _: {"device": "ascend"}),
    # checks
    Case(
        id="float-is-chance",
        code=3,
        says=("guessing gives 10.00 %", "--image-size", "--allow-poor-float"),
        options=lambda place: {
            "dataset": _folder(place, test_batch={"images": 200}, data_batch_1={"images": 40}),
            "eval-images": "all",
        },
    ),
    Case(
        id="gate-missed",
        code=5,
        process=True,
        says=("--max-drop", "allowed -100 points"),
        options=lambda _: {"max-drop": -100},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_bad_input(case: Case, shared: Shared, own: Own) -> None:
    place = Worker(shared, Path.cwd(), own)
    good = {
        "dataset": shared.data,
        "ckpt": shared.checkpoint("resnet20"),
        "model": "resnet20",
        "eval-images": 40,
        "calib-images": 8,
    }
    options = good | case.options(place)
    before = {path: path.read_bytes() for path in place.cwd.rglob("*") if path.is_file()}
    words = [
        word
        for name, value in options.items()
        for word in ([f"--{name}"] if value is True else [f"--{name}", str(value)])
    ]
    run = amctq if case.process else amctq_here
    done = run("ptq", "--json", *words)
    assert done.code == case.code, done.stderr
    envelope = done.envelope
    assert (envelope["exit_code"], envelope["status"]) == (case.code, "failed")
    (error,) = envelope["errors"]
    told = f"{error['message']} {error['hint']}"
    for said in case.says:
        assert said in told
        assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if not line.startswith("warning: ")]) <= 2
    after = {path: path.read_bytes() for path in place.cwd.rglob("*") if path.is_file()}
    assert after == before
    assert not (place.cwd / "results").exists()


@pytest.mark.parametrize(
    ("factory", "says"),
    [
        ("auxiliary_head_too_large", "in training mode the network raises ValueError on a batch"),
        ("auxiliary_head", "cross-entropy, the usual loss, raises"),
    ],
)
def test_a_network_that_is_another_in_training_is_refused_before_work(factory: str, says: str, own: Own) -> None:
    """As Inception with its auxiliary head, on images that are too small for it."""
    network = ("--model", f"{NETWORKS}:{factory}", "--ckpt", own.checkpoint)
    with np.load(own.npz) as file:
        images, labels = file["images"], file["labels"]
    np.savez("roles.npz", x_train=images[:48], y_train=labels[:48], x_test=images[48:], y_test=labels[48:])
    done = amctq_here("qat", *network, "--dataset", "roles.npz", "--max-steps", 1, "--allow-poor-float", "--json")
    assert done.code == 3, done.stderr
    (error,) = done.envelope["errors"]
    assert says in error["message"]
    assert error["hint"]
    assert not Path("results").exists()


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("ptq", {"record": "pipe.txt"}),
        ("ptq", {"config": "pipe.json"}),
        ("ptq", {"ckpt": "pipe.ckpt"}),
        ("ptq", {"name-map": "pipe.json"}),
        ("ptq", {"model": "pipe.py:small"}),
        ("ptq", {"model": "pipe.onnx", "ckpt": None}),
        ("ptq", {"dataset": "pipe.py:samples"}),
        ("ptq", {"dataset": "pipe.npz"}),
        ("ptq", {"metric": "pipe.py:score"}),
        ("evaluate", {"metric": "pipe.py:score"}),
        ("evaluate", {"onnx": "pipe.onnx", "ckpt": None, "model": None}),
        ("qat", {"loss": "pipe.py:loss"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value)[:7],
)
def test_a_named_pipe_is_told_as_one_and_before_work(command: str, options: dict[str, Any], shared: Shared) -> None:
    network = {"dataset": shared.data, "ckpt": shared.checkpoint("resnet20"), "model": "resnet20"} | options
    (pipe,) = (str(value).partition(":")[0] for value in options.values() if value is not None)
    os.mkfifo(pipe)
    words = [word for name, value in network.items() if value is not None for word in (f"--{name}", str(value))]
    done = amctq_here(command, "--json", *words)
    assert done.code == 3, done.stderr
    (error,) = done.envelope["errors"]
    assert "it is a named pipe (FIFO)" in error["message"]
    assert pipe in error["message"]
    assert not {"float accuracy", "accuracy"} & set(re.findall(r"[a-z ]+", done.stderr))
