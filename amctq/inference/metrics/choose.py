"""Which metric measures a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from amctq.data.samples import Samples
from amctq.errors import UsageError
from amctq.inference.metrics.map50 import Map50
from amctq.inference.metrics.mean_score import MeanAbsoluteError, Psnr
from amctq.inference.metrics.miou import MeanIou
from amctq.inference.metrics.own import OwnMetric
from amctq.inference.metrics.score import Metric
from amctq.inference.metrics.top1 import Top1
from amctq.plugins import is_factory

_METRICS: dict[str, Callable[[], Metric]] = {
    "top1": Top1,
    "miou": MeanIou,
    "psnr": Psnr,
    "mae": MeanAbsoluteError,
    "map50": Map50,
}


def named_metric(text: str) -> Metric:
    """The metric of ``--metric``.

    Raises:
        UsageError: there is none of that name, or reports have a field of it.
        InputError: the user's function cannot be loaded.
    """
    if text.lower() in _METRICS:
        return _METRICS[text.lower()]()
    if is_factory(text):
        return OwnMetric(text)
    message = f"--metric {text}: expected one of {', '.join(_METRICS)}, or path/to/file.py:function"
    raise UsageError(message, hint="a function of your own gets outputs and targets, and returns a number")


def gives_scores(output_shapes: Sequence[Sequence[object]]) -> bool:
    """Whether the only output of a network may be scores of classes, (N, classes); one column is a value.

    Args:
        output_shapes: of each output; anything but a number for sizes that are not known.
    """
    return len(output_shapes) == 1 and len(output_shapes[0]) == 2 and output_shapes[0][1] != 1


def usual_metric(output_shapes: Sequence[Sequence[object]], samples: Samples) -> Metric | None:
    """Top-1 for a classifier whose samples have classes; None for any other network, or without targets.

    Args:
        output_shapes: of each output of the network.
        samples: what it is measured on.
    """
    return Top1() if gives_scores(output_shapes) and samples.classified else None
