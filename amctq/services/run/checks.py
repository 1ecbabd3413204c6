"""The checks that a quantized network must pass before its files are published."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from amctq.errors import InputError
from amctq.inference.agreement import SAME
from amctq.quant.numerics import Float32Array
from amctq.services.run.accuracy import Accuracy
from amctq.services.run.check import Check
from amctq.services.run.simulation import Simulation, allowed_differences

if TYPE_CHECKING:
    from amctq.inference.accuracy import LabelRanks, Outcome
    from amctq.inference.proof import ForwardProof
    from amctq.services.run.accuracy import ComparedFile


_GAP = 0.15  # percentage points


def refuse_chance(ranks: LabelRanks, *, allow: bool) -> None:
    """Stop before calibration if the float network is hardly better than guessing, because the inputs do not match.

    Raises:
        InputError: top-1 is near chance, and ``allow`` is False.
    """
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


def run_checks(
    proof: ForwardProof,
    accuracy: Accuracy | None,
    simulation: Simulation,
    int8_logits: Float32Array,
    max_drop: float | None,
) -> tuple[Check, ...]:
    """Check the quantized network and its measured file.

    Args:
        proof: that onnxruntime and MindSpore compute the same float network.
        accuracy: of float and INT8; None if it was not measured.
        simulation: the ONNX file compared with an independent computation.
        int8_logits: (N, classes), of the exported file on calibration images.
        max_drop: percentage points that top-1 may drop; None for no limit.
    """
    checks = [
        _graph_check(proof),
        Check(
            name="quantized output is finite",
            passed=bool(np.isfinite(int8_logits).all()),
            detail=f"{len(int8_logits)} calibration images",
        ),
    ]
    # A value on a rounding boundary may round up or down and change a few logits; a fault changes all of them.
    agreement = simulation.agreement
    allowed = allowed_differences(agreement.images, exported=simulation.exported)
    mean, limit = agreement.mean_difference, SAME
    if simulation.noise is not None:
        # In a deep network a value on a boundary moves all that follow, with random weights as far as quantization
        # itself does. A fault of the file moves it farther.
        limit = max(limit, simulation.noise.mean_difference)
        allowed = max(allowed, simulation.noise.argmax_differences)
    checks.append(
        Check(
            name=f"{simulation.through} equals the ONNX file"
            if simulation.exported
            else f"exported file equals {simulation.through}",
            passed=agreement.argmax_differences <= allowed and mean <= limit,
            detail=f"{agreement.argmax_differences} of {agreement.images:,} images differ{_and_ties(agreement.ties)}, "
            f"{allowed} allowed; mean difference {mean:.1e} of the largest logit, {limit:.2g} allowed",
        )
    )
    if accuracy is not None:
        before, after = accuracy.float_ranks.top1, accuracy.int8_ranks.top1
        checks.append(
            Check(
                name="quantized top-1 at least half of float",
                passed=after >= before / 2,
                detail=f"float {before:.2f} %, quantized {after:.2f} %",
            )
        )
        if max_drop is not None:
            drop = accuracy.difference.drop
            checks.append(
                Check(
                    name="--max-drop",
                    passed=drop <= max_drop,
                    detail=f"drop {drop:.2f}, allowed {max_drop:g} points",
                )
            )
    return tuple(checks)


def file_checks(compared: Iterable[ComparedFile]) -> tuple[Check, ...]:
    """Check that every file predicts the class of the QDQ graph for 99.8 % of the images.

    Args:
        compared: the files with their comparisons.
    """
    return tuple(
        Check(
            name=f"{file.name} equals the QDQ graph",
            passed=file.argmax_differences <= (allowed := allowed_differences(file.images, exported=True)),
            detail=f"{file.argmax_differences} of {file.images:,} images differ{_and_ties(file.ties)}, "
            f"{allowed} allowed",
        )
        for file in compared
    )


def agreement_check(training: Outcome, exported: LabelRanks) -> Check:
    """Check that the exported file has the top-1 of the network that was trained.

    Args:
        training: outcome of the training network.
        exported: label ranks of the exported file on the same images.
    """
    images = len(exported.ranks)
    # With 100 images, one image is a whole point. Two images may always differ, as in the other comparisons.
    allowed = max(_GAP, 200.0 / images)
    gap = abs(training.ranks.top1 - exported.top1)
    return Check(
        name="exported file equals the training network",
        passed=gap <= allowed + 1e-9,
        detail=f"top-1 {exported.top1:.2f} % and {training.ranks.top1:.2f} %, {allowed:.2f} points allowed",
    )


def training_checks(
    proof: ForwardProof, ranks: tuple[LabelRanks, LabelRanks] | None, max_drop: float | None
) -> tuple[Check, ...]:
    """Check the training network, for a retrained network whose exported file cannot run on this machine.

    Args:
        proof: that onnxruntime and MindSpore compute the same float network.
        ranks: of the float network and of the training network on the same images; None if they were not measured.
        max_drop: percentage points that top-1 may drop; None for no limit.
    """
    checks = [_graph_check(proof)]
    if ranks is None:
        return tuple(checks)
    before, after = (item.top1 for item in ranks)
    checks.append(
        Check(
            name="training network's top-1 at least half of float",
            passed=after >= before / 2,
            detail=f"float {before:.2f} %, training network {after:.2f} %",
        )
    )
    if max_drop is not None:
        detail = f"drop {before - after:.2f} in the training network, allowed {max_drop:g} points"
        checks.append(Check(name="--max-drop", passed=before - after <= max_drop, detail=detail))
    return tuple(checks)


def _graph_check(proof: ForwardProof) -> Check:
    return Check(
        name="float graph equals MindSpore",
        passed=True,  # otherwise prove_forward has raised an error
        detail=f"largest difference {proof.max_difference:.1e} of the largest logit, {proof.images} images",
    )


def _and_ties(ties: int) -> str:
    return f" and {ties} are ties" if ties else ""
