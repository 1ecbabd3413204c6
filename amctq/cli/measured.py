"""The measured sections of a report, for people: accuracy, sizes and speed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from amctq.cli.figures import Figure
from amctq.services.run.verdict import size_change, speed_change

if TYPE_CHECKING:
    from amctq.inference.metrics.score import MetricName

_TITLES = {"top5": "top-5, %"}


def accuracy_figures(accuracy: Mapping[str, Any], stages: Sequence[Mapping[str, float]]) -> Iterator[Figure]:
    """A row for each figure: its value at each stage, and the last against the first.

    Args:
        accuracy: the section.
        stages: figures by name.
    """
    metric = metric_of(accuracy)
    for name in stages[0]:
        values = [stage[name] for stage in stages]
        title = metric.title if name == metric.key else _TITLES.get(name, name)
        change = "" if len(values) == 1 else metric.text(values[-1] - values[0], sign=True)
        yield Figure(name=title, values=values, digits=metric.digits, change=change)


def size_figures(files: Mapping[str, Any], between: int = 0) -> Iterator[Figure]:
    """A row for each file: its bytes, after those in float; ``between`` counts the stages that have no file."""
    for form, file in files.items():
        values = (file["float_bytes"], *[None] * between, file["int8_bytes"])
        yield Figure(name=f"{form}, bytes", values=values, change=size_change(file["ratio"]))


def speed_figures(speed: Mapping[str, Any] | None, between: int = 0) -> Iterator[Figure]:
    """A row of images per second, if they were measured; ``between`` counts the stages whose speed was not."""
    if speed is not None:
        values = (speed["float"], *[None] * between, speed["int8"])
        yield Figure(name="images/s", values=values, change=speed_change(speed["ratio"]))


def drop_row(accuracy: Mapping[str, Any]) -> tuple[str, str]:
    """By how much the metric is worse, with what the samples say of it."""
    metric = metric_of(accuracy)
    text = metric.difference(accuracy[f"{metric.key}_drop"])
    interval = accuracy[f"{metric.key}_drop_95"]
    if interval is not None:
        text += f" (95 % interval {metric.ends(interval)})"
    return f"{metric.label} drop", text


def samples_row(accuracy: Mapping[str, Any]) -> tuple[str, str]:
    """On how many samples, and how many of them were lost and gained."""
    if accuracy.get("mcnemar_p") is None:
        return "measured on", f"{accuracy['images']:,} test samples"
    return (
        "measured on",
        f"{accuracy['images']:,} test images: {accuracy['lost']} lost, {accuracy['gained']} gained, "
        f"McNemar p = {accuracy['mcnemar_p']:.2g}",
    )


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
    yield (
        "measured on",
        f"{fidelity['samples']:,} samples; no metric was named, and nearness to float is no accuracy",
    )


def speed_rows(speed: Mapping[str, Any] | None, stages: tuple[str, str]) -> Iterator[tuple[str, str]]:
    """What there is to say of the images per second: their spread on a busy machine, and why they are few.

    Args:
        speed: the section.
        stages: what float and the quantized network are called.
    """
    if speed is None:
        return
    if speed["busy"]:
        spread = ", ".join(
            f"{stage} {speed[key][0]:,.0f} to {speed[key][1]:,.0f}"
            for stage, key in zip(stages, ("float_range", "int8_range"), strict=True)
        )
        yield "busy machine", f"images/s are the median of {speed['rounds']} runs: {spread}"
    if speed["note"] is not None:
        yield "speed", speed["note"]
