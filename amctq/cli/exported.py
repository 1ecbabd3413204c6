"""What is said of exported files, by the commands that export."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from amctq.choices import Runtime
from amctq.cli.measured import metric_of


def file_rows(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The files compared with the QDQ graph, and ATC."""
    for form, file in report["files"].items():
        same = file.get("agreement")
        if same is not None:
            metric = None if report["accuracy"] is None else metric_of(report["accuracy"])
            score = "" if metric is None else f"{metric.said(same[metric.key])}, "
            if metric is None or metric.key == "top1":
                same_as = f"the class of the QDQ graph on {same['percent']:.2f} % of {same['images']:,} images"
            else:
                same_as = f"{same['mean_difference']:.1e} of the largest value from the QDQ graph in the mean"
            yield form, f"{file['name']}: {score}{same_as}"
    yield from _atc_rows(report["atc"])
    for entry in report["deployment"]["commands"]:
        yield f"for {report['deployment']['target']}", f"{entry['does']}: {entry['command']}"


def not_run_rows(
    report: Mapping[str, Any], measured: str = "amctq's ONNX graph on the scales of AMCT's record"
) -> Iterator[tuple[str, str]]:
    """What has not run on this machine, and why; ``measured`` is what has the accuracy of an AIR file's run."""
    deployment = report["deployment"]
    if deployment["runtime"] == Runtime.OPENVINO.value:
        yield "runtime", "OpenVINO: accuracy and speed are those that it has, of the float network too"
    if deployment["not_run"] is not None:
        yield "not run", deployment["not_run"]
    elif report["not_run"]:
        yield (
            "not run",
            f"{', '.join(report['not_run'])}: an AIR file runs on an NPU, after ATC has compiled it; the accuracy is "
            f"that of {measured}",
        )


def _atc_rows(atc: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    if atc is None:
        return
    if atc["exit_code"] is None:
        yield "for an NPU", f"in the folder of the deploy file: {atc['command']}"
    elif atc["om"] is not None:
        yield "atc", f"{atc['om']['name']}, {atc['om']['bytes']:,} bytes, by {atc['command']}"
    else:
        yield "atc", atc["command"]
        yield from (("atc says", line) for line in atc["log"])
