"""Which networks there are, how each is built, and how its images are prepared. Loads no framework."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from amctq.data.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from amctq.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A network in the registry.

    Attributes:
        name: what ``--model`` takes.
        module: where its builder lies; imported when the network is built.
        builder: name of a function in ``module``, called with ``depth`` and ``num_classes``.
        depth: number of layers with weights.
        preprocessing: how its images are prepared, unless options say otherwise.
    """

    name: str
    module: str
    builder: str
    depth: int
    preprocessing: Preprocessing

    def build(self, num_classes: int) -> Any:
        """A new ``mindspore.nn.Cell`` in inference mode, taking (N, 3, H, W) float32, giving (N, num_classes)."""
        builder: Callable[..., Any] = getattr(importlib.import_module(self.module), self.builder)
        network = builder(depth=self.depth, num_classes=num_classes)
        network.set_train(False)
        return network

    def describe(self, num_classes: int) -> dict[str, str]:
        """What whoever runs an exported file must know of it, as ONNX metadata."""
        return {
            "amctq.model": self.name,
            "amctq.num_classes": str(num_classes),
            "amctq.input": f"float32 NCHW RGB, {self.preprocessing.image_size} x {self.preprocessing.image_size}",
            "amctq.preprocessing": (
                f"(x / 255 - mean) / std, mean {list(self.preprocessing.mean)}, std {list(self.preprocessing.std)}"
            ),
        }


def _cifar_resnet(depth: int) -> ModelSpec:
    # The published CIFAR weights were trained with ImageNet's mean and deviation.
    preprocessing = Preprocessing(image_size=32, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    return ModelSpec(
        name=f"resnet{depth}",
        module="amctq.models.cifar_resnet",
        builder="cifar_resnet",
        depth=depth,
        preprocessing=preprocessing,
    )


REGISTRY: dict[str, ModelSpec] = {spec.name: spec for spec in [_cifar_resnet(depth) for depth in (20, 32, 44, 56, 110)]}


def find_model(name: str) -> ModelSpec:
    """The entry of that name, case ignored.

    Raises:
        UsageError: there is none.
    """
    spec = REGISTRY.get(name.lower())
    if spec is None:
        near = difflib.get_close_matches(name.lower(), REGISTRY, n=1)
        message = f"--model {name}: not a model that amctq knows ({', '.join(REGISTRY)})"
        raise UsageError(message, hint=f"did you mean {near[0]}?" if near else "choose one of these")
    return spec
