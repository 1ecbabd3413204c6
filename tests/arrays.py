"""Arrays of images as what a network takes, and the scores of classes that it gives."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from amctq.data.inputs import IMAGE, Inputs, InputSpec
from amctq.inference.session import Session


def image(images: NDArray[Any]) -> Inputs:
    """The inputs of a network that takes only images, (N, C, H, W)."""
    return {IMAGE: images}


def image_spec(*shape: int) -> dict[str, InputSpec]:
    """What such a network takes: float32 images of a shape (C, H, W)."""
    return {IMAGE: InputSpec(shape=shape)}


def logits_of(session: Session, images: NDArray[Any]) -> NDArray[Any]:
    """The only output of such a network."""
    (logits,) = session.run(image(images))
    return logits
