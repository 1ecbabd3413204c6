"""The checks that a quantized network must pass before its files are published."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from amctq.errors import InputError
from amctq.inference.agreement import SAME
from amctq.services.run.accuracy import Accuracy
from amctq.services.run.check import Check
from amctq.services.run.simulation import Simulation, allowed_differences

if TYPE_CHECKING:
    from amctq.inference.agreement import Agreement
    from amctq.inference.fidelity import Fidelity
    from amctq.inference.metrics.score import MetricName, Score
    from amctq.inference.proof import ForwardProof
    from amctq.inference.session import Outputs
    from amctq.services.run.accuracy import ComparedFile


_GAP = 0.15  # percentage points
_SHARE = 0.005  # of a metric that is no percentage


def refuse_chance(ranks: Score, *, allow: bool) -> None:
    """Stop before calibration if a classifier is hardly better than guessing, because the inputs do not match.

    Raises:
        InputError: top-1 is near chance, and ``allow`` is False.
    """
    from amctq.inference.metrics.top1 import LabelRanks

    if not isinstance(ranks, LabelRanks):
        return
    chance = 1.0 / ranks.classes
    images = len(ranks.ranks)
    # Three standard deviations of guessing above chance; with few images, at most half-way from chance to 100 %.
    limit = 100.0 * min(chance + 3.0 * math.sqrt(chance * (1.0 - chance) / images), (1.0 + chance) / 2.0)
    if ranks.top1 < limit and not allow:
        message = (
            f"the float network is right on {ranks.top1:.2f} % of {images:,} images, "
            f"where guessing gives {100 * chance:.2f} % (at least {limit:.1f} % expected)"
        )
        hint = "check --image-size, --model and the normalisation; --allow-poor-float continues anyway"
        raise InputError(message, hint=hint)


def converter_check(path: Path) -> Check:
    """Whether the QDQ file keeps the documented limits of Huawei's own converter."""
    import onnx

    from amctq.export.qat_model import unfit_nodes

    unfit = list(unfit_nodes(onnx.load(path)))
    return Check(
        name=f"{path.name} fits amct_onnx.convert_qat_model",
        passed=not unfit,
        detail=unfit[0] if unfit else "by its documented limits",
        hint="use --export ascend alone: the deploy file has no such limits",
    )


def run_checks(
    proof: ForwardProof,
    accuracy: Accuracy | None,
    fidelity: Fidelity | None,
    simulation: Simulation,
    outputs: Outputs,
    max_drop: float | None,
    *,
    tuned: bool = False,
) -> tuple[Check, ...]:
    """Check the quantized network and its measured file.

    Args:
        proof: that the float graph computes what the network itself does.
        accuracy: of float and INT8; None if it was not measured.
        fidelity: of the outputs, where no accuracy was measured.
        simulation: the ONNX file compared with an independent computation.
        outputs: of the exported file on calibration samples.
        max_drop: by how much the metric may get worse, in its own unit; None for no limit.
        tuned: other samples have chosen the network by ``max_drop``, and these only must not speak against it.
    """
    checks = [
        _graph_check(proof),
        Check(
            name="quantized output is finite",
            passed=all(bool(np.isfinite(array).all()) for array in outputs),
            detail=f"{len(outputs[0])} calibration samples",
        ),
    ]
    # A value on a rounding boundary may round up or down and change a few logits; a fault changes all of them.
    agreement = simulation.agreement
    allowed = allowed_differences(agreement.images, exported=simulation.exported)
    mean, limit = agreement.mean_difference, SAME
    if simulation.noise is not None:
        # In a deep network a value on a boundary moves all that follow, with random weights as far as quantization
        # itself does: then the two are as far apart as two independent errors. A fault of the file moves it farther.
        limit = max(limit, math.sqrt(2) * simulation.noise.mean_difference)
        allowed = max(allowed, simulation.noise.argmax_differences)
    checks.append(
        Check(
            name=f"{simulation.through} equals the ONNX file"
            if simulation.exported
            else f"exported file equals {simulation.through}",
            passed=agreement.argmax_differences <= allowed and mean <= limit,
            detail=_detail(agreement, allowed, limit),
        )
    )
    if accuracy is not None:
        checks.append(half_check(accuracy.before, accuracy.after, "quantized"))
        if max_drop is not None:
            interval = accuracy.difference.interval if tuned else None
            checks.append(drop_check(accuracy.difference.drop, accuracy.before.metric, max_drop, interval=interval))
    elif fidelity is not None:
        checks += [
            Check(
                name=f"{found.output}: more signal than noise",
                passed=found.sqnr_db > 0,
                detail=f"{found.sqnr_db:.1f} dB on {fidelity.samples:,} samples",
            )
            for found in fidelity.outputs
            if not found.chosen
        ]
    return tuple(checks)


def half_check(before: Score, after: Score, what: str) -> Check:
    """Check that a network has at least half of the float network's score, or at most twice its error."""
    metric, one, two = before.metric, before.value, after.value
    return Check(
        name=f"{what} {metric.label} at {'least half of float' if metric.rises else 'most twice that of float'}",
        passed=two >= min(one / 2, 2 * one) if metric.rises else two <= max(2 * one, one / 2),
        detail=f"float {metric.shown(one)}, {what} {metric.shown(two)}",
    )


def drop_check(
    drop: float,
    metric: MetricName,
    max_drop: float,
    where: str = "",
    interval: tuple[float, float] | None = None,
) -> Check:
    """Check that the metric has not got worse by more than ``max_drop``.

    Args:
        drop: by how much it is worse.
        metric: its name.
        max_drop: the limit.
        where: it was measured, for the message.
        interval: of the drop, where it is enough that this does not lie beyond the limit.
    """
    least, ends = drop, ""
    if interval is not None:
        least, ends = min(drop, interval[0]), f" [{metric.ends(interval)}]"
    detail = f"drop {metric.text_beside(drop, max_drop)}{ends}{where}, allowed {max_drop:g}{metric.unit_behind}"
    return Check(name="--max-drop", passed=least <= max_drop, detail=detail)


def file_checks(compared: Iterable[ComparedFile]) -> tuple[Check, ...]:
    """Check that every file computes what the QDQ graph does: the same class for 99.8 % of the samples.

    Args:
        compared: the files with their comparisons.
    """
    checks = []
    for file in compared:
        found = file.agreement
        allowed = allowed_differences(found.images, exported=True)
        if file.noise is not None and found.mean_difference <= SAME:
            # With few bits and many classes, a value on a rounding boundary changes more. A fault of the file would
            # change far more than a tenth of what quantization itself does.
            allowed = max(allowed, file.noise.argmax_differences // 10)
        checks.append(
            Check(
                name=f"{file.name} equals the QDQ graph",
                passed=found.argmax_differences <= allowed and (found.classes or found.mean_difference <= SAME),
                detail=_detail(found, allowed, SAME),
            )
        )
    return tuple(checks)


def _detail(found: Agreement, allowed: int, limit: float) -> str:
    mean = f"mean difference {found.mean_difference:.1e} of the largest value, {limit:.2g} allowed"
    if not found.classes:
        return f"{found.images:,} samples; {mean}"
    differ = f"{found.argmax_differences} of {found.images:,} images differ{_and_ties(found.ties)}"
    return f"{differ}, {allowed} allowed; {mean}"


def agreement_check(training: Score, exported: Score) -> Check:
    """Check that the exported file has the score of the network that was trained.

    Args:
        training: of the training network.
        exported: of the exported file on the same samples.
    """
    metric, gap = exported.metric, abs(training.value - exported.value)
    # With 100 images, one image is a whole point. Two images may always differ, as in the other comparisons.
    allowed = max(_GAP, 200.0 / exported.samples) if metric.is_percentage else _SHARE * abs(training.value)
    return Check(
        name="exported file equals the training network",
        passed=gap <= allowed * (1 + 1e-9),
        detail=f"{metric.said(exported.value)} and {metric.shown(training.value)}, "
        f"{metric.difference(allowed)} allowed",
    )


def training_checks(
    proof: ForwardProof, scores: tuple[Score, Score] | None, max_drop: float | None
) -> tuple[Check, ...]:
    """Check the training network, for a retrained network whose exported file cannot run on this machine.

    Args:
        proof: that the float graph computes what the network itself does.
        scores: of the float network and of the training network on the same samples; None if they were not measured.
        max_drop: by how much the metric may get worse, in its own unit; None for no limit.
    """
    checks = [_graph_check(proof)]
    if scores is None:
        return tuple(checks)
    before, after = scores
    checks.append(half_check(before, after, "training network"))
    if max_drop is not None:
        checks.append(drop_check(before.drop_to(after), before.metric, max_drop, " in the training network"))
    return tuple(checks)


def _graph_check(proof: ForwardProof) -> Check:
    return Check(
        name=f"float graph equals {proof.runtime}",
        passed=True,  # otherwise prove_forward has raised an error
        detail=f"largest difference {proof.max_difference:.1e} of the largest value, {proof.images} samples"
        + (f"; {proof.exchanged:.1%} of what is chosen was exchanged" if proof.exchanged else ""),
    )


def _and_ties(ties: int) -> str:
    return f" and {ties} are ties" if ties else ""
