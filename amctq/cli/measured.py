"""The accuracy section of a report, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amctq.inference.metrics.score import MetricName

_TITLES = {"top5": "top-5, %"}


def accuracy_rows(accuracy: Mapping[str, Any], stages: Sequence[Mapping[str, float]]) -> Iterator[tuple[str, ...]]:
    """A row of a table for each figure: its name, its value at each stage, and the last against the first.

    Args:
        accuracy: the section.
        stages: figures by name.
    """
    metric = metric_of(accuracy)
    for name in stages[0]:
        values = [stage[name] for stage in stages]
        title = metric.title if name == metric.key else _TITLES.get(name, name)
        digits = metric.digits
        yield title, *(f"{value:.{digits}f}" for value in values), f"{values[-1] - values[0]:+.{digits}f}"


def drop_sentence(accuracy: Mapping[str, Any]) -> str:
    """By how much the metric is worse, with what the samples say of it."""
    metric = metric_of(accuracy)
    key, digits = metric.key, metric.digits
    text = f"{metric.label} drop {accuracy[f'{key}_drop']:.{digits}f}{metric.unit_behind}"
    interval = accuracy[f"{key}_drop_95"]
    if interval is not None:
        low, high = interval
        text += f" (95 % interval {low:.{digits}f} to {high:.{digits}f})"
    return text


def metric_of(accuracy: Mapping[str, Any]) -> MetricName:
    """The metric that the section names."""
    from amctq.inference.metrics.score import MetricName  # not at start-up: it loads NumPy

    return MetricName(**accuracy["metric"])


def fidelity_rows(fidelity: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """A row for each output: its name, and how near it is to the one in float."""
    for output in fidelity["outputs"]:
        decibels = "equal" if output["sqnr_db"] is None else f"{output['sqnr_db']:.1f} dB"
        yield (
            f"{output['output']}, SQNR",
            f"{decibels}; cosine {output['cosine']:.5f}; largest difference {output['max_difference']:.3g} "
            f"of {output['largest']:.3g}" + "; it depends on a choice, and the order may be another" * output["chosen"],
        )
