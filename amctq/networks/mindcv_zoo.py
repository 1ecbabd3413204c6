"""Networks of mindcv, by name: ``mindcv:mobilenet_v3_small_100``."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import re
from typing import Any

from amctq.data.preprocess import IMAGENET_224, Preprocessing
from amctq.errors import InputError, Stopped, UnavailableError, UsageError
from amctq.networks.model_spec import ModelSpec
from amctq.plugins import USER_CODE_FAILURES, format_error

_PREFIX = "mindcv:"
_CLASSES = 1000
_INSTALL = "pip install --no-deps mindcv==0.3.0 && pip install tqdm pyyaml 'opencv-python-headless<4.12' 'numpy<2'"


def is_of_mindcv(name: str) -> bool:
    """Whether ``--model`` names a network of mindcv."""
    return name.lower().startswith(_PREFIX)


def mindcv_model(text: str) -> ModelSpec:
    """The network of mindcv that ``--model`` names, with mindcv's size of images and ImageNet's preprocessing.

    Raises:
        UsageError: the name is none.
        UnavailableError: mindcv is not installed.
    """
    name = text[len(_PREFIX) :]
    if not re.fullmatch(r"\w+", name, re.ASCII):
        message = f"--model {text}: expected {_PREFIX} and a name, such as {_PREFIX}mobilenet_v3_small_100"
        raise UsageError(message, hint="mindcv.list_models() has the names")
    if importlib.util.find_spec("mindcv") is None:
        message = f"--model {text}: mindcv is not installed"
        raise UnavailableError(message, hint=_INSTALL)

    def build(num_classes: int) -> Any:
        known = _registry(text, name)
        try:
            network = known.model_entrypoint(name)(pretrained=False, num_classes=num_classes, in_channels=3)
        except Stopped:
            raise
        except USER_CODE_FAILURES as error:
            message = f"--model {text}: mindcv raised {format_error(error)}"
            raise InputError(message, hint="check --num-classes, and that the network runs by itself") from error
        network.set_train(False)
        return network

    def preprocessing(num_classes: int) -> Preprocessing:
        del num_classes
        size = _registry(text, name).get_pretrained_cfg(name).get("input_size", (3, IMAGENET_224.image_size, 0))[1]
        return IMAGENET_224.changed(image_size=size)

    return ModelSpec(name=name, build=build, preprocessing=preprocessing, num_classes=_CLASSES)


def _registry(text: str, name: str) -> Any:
    """Mindcv's list of networks, which has the name. It imports MindSpore, whose environment must be set first."""
    try:
        importlib.import_module("mindcv.models")
        known = importlib.import_module("mindcv.models.registry")
    except Stopped:
        raise
    except USER_CODE_FAILURES as error:
        message = f"--model {text}: importing mindcv raised {format_error(error)}"
        raise UnavailableError(message, hint=_INSTALL) from error
    if not known.is_model(name):
        near = difflib.get_close_matches(name, known.list_models(), n=1)
        message = f"--model {text}: mindcv has no network of that name"
        raise InputError(message, hint=f"did you mean {_PREFIX}{near[0]}?" if near else "mindcv.list_models()")
    return known
