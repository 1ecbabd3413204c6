"""The known networks: how each is built, and how its images are preprocessed. Imports no framework."""

from __future__ import annotations

import difflib
import functools
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from amctq.data.preprocess import CIFAR10_224, IMAGENET_224, IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from amctq.errors import InputError, UsageError
from amctq.files import reading
from amctq.networks.mindcv_zoo import is_of_mindcv, mindcv_model
from amctq.networks.model_spec import ModelSpec
from amctq.plugins import call_factory, check_factory, factory_name, is_factory, load_factory
from amctq.regular_file import why_no_file

# The published CIFAR weights were trained with ImageNet's mean and deviation.
_CIFAR_RESNET = Preprocessing(image_size=32, mean=IMAGENET_MEAN, std=IMAGENET_STD)

# Files that are networks: by ending, the module and the class that reads them.
_FILES = {
    ".onnx": ("amctq.networks.onnx_model", "OnnxModel"),
    ".mindir": ("amctq.networks.mindir_model", "MindirModel"),
}


def _built_in(
    module: str, network_class: str, depth: int, parameters: int, preprocessing: Callable[[int], Preprocessing]
) -> ModelSpec:
    def build(num_classes: int) -> Any:
        network = getattr(importlib.import_module(module), network_class)(depth=depth, num_classes=num_classes)
        network.set_train(False)
        return network

    return ModelSpec(name=f"resnet{depth}", build=build, preprocessing=preprocessing, parameters=parameters)


def _by_classes(num_classes: int) -> Preprocessing:
    """As in the sample: ImageNet's for 1000 classes, CIFAR-10's at 224 x 224 for any other number."""
    return IMAGENET_224 if num_classes == 1000 else CIFAR10_224


REGISTRY: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        *(
            _built_in("amctq.networks.resnet", "ResNet", depth, parameters, _by_classes)
            for depth, parameters in ((18, 102), (34, 182), (50, 267), (101, 522), (152, 777))
        ),
        *(
            _built_in("amctq.networks.cifar_resnet", "CifarResNet", depth, parameters, lambda _: _CIFAR_RESNET)
            for depth, parameters in ((8, 37), (20, 97), (32, 157), (44, 217), (56, 277), (110, 547))
        ),
    )
}


def find_model(name: str) -> ModelSpec:
    """The network of that name in the registry (case is ignored), one of mindcv, a file, or the user's own.

    Raises:
        UsageError: there is no such network.
        UnavailableError: mindcv is not installed.
        InputError: the user's file does not exist. It is imported or read later, when the network is built.
    """
    if name.lower() in REGISTRY:
        return REGISTRY[name.lower()]
    if is_model_file(name):
        return _of_file(Path(name))
    if is_of_mindcv(name):
        return mindcv_model(name)
    if is_factory(name):
        check_factory(name, option="--model")
        return _own(name)
    near = difflib.get_close_matches(name.lower(), REGISTRY, n=1)
    message = f"--model {name}: not a model that amctq knows ({', '.join(REGISTRY)})"
    raise UsageError(
        message,
        hint=f"did you mean {near[0]}?" if near else "or bring your own: file.py:function, mindcv:NAME, or net.onnx",
    )


def is_model_file(name: str) -> bool:
    """Whether ``--model`` names a file with the network and its weights."""
    return Path(name).suffix.lower() in _FILES and not is_factory(name)


def refuse_model_file(name: str, what: str) -> None:
    """Refuse a network that is a file, where MindSpore's cells are needed.

    Args:
        name: as ``--model``.
        what: needs them, for the message.

    Raises:
        UsageError: it is a file.
    """
    if is_model_file(name):
        message = f"--model {name}: {what} needs MindSpore's cells, and a file has none"
        raise UsageError(message, hint="name the network as file.py:function, mindcv:NAME or a known name, with --ckpt")


def refuse_no_weights(name: str, ckpt: Path | None) -> None:
    """Refuse a network without its weights.

    Args:
        name: as ``--model``.
        ckpt: as ``--ckpt``.

    Raises:
        UsageError: there is no checkpoint, and the network is no file with its weights, or not known at all.
        UnavailableError: as ``find_model``.
        InputError: as ``find_model``.
    """
    if ckpt is None and find_model(name).file is None:
        message = f"--model {name} needs its weights"
        raise UsageError(message, hint="name them with --ckpt FILE")


def _of_file(path: Path) -> ModelSpec:
    """The network of a file; images have the size that the file says."""
    with reading(f"--model {path}"):
        found = why_no_file(path)
    if found is not None:
        message = f"--model {path}: {found}"
        raise InputError(message, hint="check the path")
    module, kind = _FILES[path.suffix.lower()]

    @functools.cache
    def file() -> Any:
        return getattr(importlib.import_module(module), kind)(path)

    def preprocessing(num_classes: int) -> Preprocessing:
        return _by_classes(file().classes or num_classes).changed(image_size=file().image_size)

    def build(num_classes: int) -> Any:
        del num_classes
        refuse_model_file(str(path), "this")

    return ModelSpec(name=path.stem, build=build, preprocessing=preprocessing, file=file)


def _own(text: str) -> ModelSpec:
    """The network that a user's function makes; its argument is ``num_classes`` or, as in the sample, ``class_num``."""

    def build(num_classes: int) -> Any:
        # Imported here: a user's file imports MindSpore, whose environment must be set first.
        factory = load_factory(text, option="--model")
        network = call_factory(factory, text, option="--model", num_classes=num_classes, class_num=num_classes)
        from mindspore import nn

        if not isinstance(network, nn.Cell):
            message = f"--model {text}: it gave a {type(network).__name__}, expected a mindspore.nn.Cell"
            raise InputError(message, hint="let the function return the network")
        network.set_train(False)
        return network

    return ModelSpec(name=factory_name(text), build=build, preprocessing=_by_classes)
