"""The verdict of a run in one line, for the report and for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from amctq.choices import ArqRule, Placement, Target, TargetIsa

if TYPE_CHECKING:
    from amctq.inference.metrics.score import MetricName


def width_name(quantization: Mapping[str, Any]) -> str:
    """``INT8``; ``INT4 weights``, ``INT4 and INT8 weights`` or ``INT3 to INT8 weights``. Activations have 8 bits.

    Args:
        quantization: the section of the report.
    """
    widths = sorted({layer["weight_bits"] for layer in quantization["layers"]})
    names = " and ".join(f"INT{width}" for width in widths)
    if len(widths) > 2:
        names = f"INT{widths[0]} to INT{widths[-1]}"
    return "INT8" if widths in ([], [8]) else f"{names} weights"


def verdict(report: Mapping[str, Any]) -> dict[str, Any]:
    """Whether the run has passed its checks, and what it has yielded; without times, which differ between equal runs.

    Args:
        report: the other sections.
    """
    failed = [check["name"] for check in report["checks"] if not check["passed"]]
    details = [f"{check['name']}: {check['detail']}" for check in report["checks"] if not check["passed"]]
    size = "".join(f", {size_change(file['ratio'])}" for file in list(report["files"].values())[:1])
    text = f"{report['model']['name']}, {width_name(report['quantization'])}: {_quality(report)}{size}"
    return {"passed": not failed, "failed": failed, "text": "; ".join([*details, text])}


def size_change(ratio: float) -> str:
    """The bytes of a file against those in float, such as ``3.64x smaller``; ``ratio`` is 1 for the same."""
    return _change(1 / ratio, better="smaller", worse="larger", equal="as large")


def speed_change(ratio: float) -> str:
    """Images per second against those in float, such as ``2.09x faster``; ``ratio`` is 1 for the same."""
    return _change(ratio, better="faster", worse="slower", equal="as fast")


def _change(times: float, *, better: str, worse: str, equal: str) -> str:
    shown = f"{max(times, 1 / times):.2f}"
    return equal if shown == "1.00" else f"{shown}x {better if times > 1 else worse}"


def speed_note(ratio: float, quantization: Mapping[str, Any]) -> str | None:
    """Why a quantized network is slower than float on this machine; None where it is not, or the reason is not known.

    Args:
        ratio: of the images per second.
        quantization: the section of the report.
    """
    if ratio >= 1:
        return None
    target = Target(quantization["target"])
    if quantization["placement"] == Placement.ASCEND.value:
        return "an ascend-placed file is for an NPU and for proof, not for speed on this CPU"
    if target is Target.TENSORRT:
        return "int8 activations are slow on x86: this says nothing of a GPU"
    if target is not Target.ONNXRUNTIME:
        return None
    if quantization["isa"] == TargetIsa.AVX2.value and quantization.get("arq_rule") != ArqRule.PAIRS.value:
        return "without VNNI weights that are uint8 to be exact are no faster than float: those of 7 bits are"
    return "onnxruntime's kernels for these layers are no faster in integers; --target openvino is for the same CPU"


def _quality(report: Mapping[str, Any]) -> str:
    from amctq.inference.metrics.score import MetricName

    accuracy, fidelity = report["accuracy"], report["fidelity"]
    if fidelity is not None:
        # An output that depends on a choice may be in another order, and then its figure says nothing.
        outputs = [output for output in fidelity["outputs"] if not output["chosen"]] or fidelity["outputs"]
        decibels = [output["sqnr_db"] for output in outputs if output["sqnr_db"] is not None]
        return f"SQNR of outputs at least {min(decibels):.1f} dB" if decibels else "outputs equal to those in float"
    if accuracy is None:
        return "accuracy not measured"
    metric = MetricName(**accuracy["metric"])
    if accuracy["int8"] is None:
        return f"{metric.said(accuracy['training_network'][metric.key])} in the training network"
    against = change_sentence(accuracy[f"{metric.key}_drop"], accuracy[f"{metric.key}_drop_95"], metric)
    return f"{metric.said(accuracy['int8'][metric.key])}, {against}"


def change_sentence(drop: float, interval: tuple[float, float] | None, metric: MetricName) -> str:
    """The change against float: ``0.07 points above float [-0.07 to 0.21]``; the ends count in the same direction.

    Args:
        drop: by how much the metric is worse, in its own unit.
        interval: the 95 % interval of ``drop``; None if it is not known.
        metric: its name.
    """
    worse = drop > 0
    risen, fallen = ("above", "below") if metric.rises else ("better than", "worse than")
    equal = metric.text(abs(drop)) == metric.text(0.0)
    known = "equal to float" if equal else f"{metric.difference(abs(drop))} {fallen if worse else risen} float"
    if interval is None:
        return known
    return f"{known} [{metric.ends(interval if worse else (-interval[1], -interval[0]))}]"
