"""What a quantized network must pass: the gates between measuring and publishing."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from amctq.errors import InputError
from amctq.quant.numerics import Float32Array
from amctq.services.run.accuracy import Accuracy
from amctq.services.run.check import Check

if TYPE_CHECKING:
    from amctq.inference.accuracy import LabelRanks, Outcome
    from amctq.inference.proof import ForwardProof
    from amctq.services.run.accuracy import ComparedFile
    from amctq.services.run.simulation import Simulation


# Measured: 6e-4 on ResNet-20, 2e-4 on ResNet-50.
_MEAN_DIFFERENCE = 0.01
_GAP = 0.15  # percentage points


def refuse_chance(ranks: LabelRanks, *, allow: bool) -> None:
    """Stop before calibration when the float network hardly beats guessing: something does not fit.

    Raises:
        InputError: top-1 is near chance, and not ``allow``.
    """
    chance = 1.0 / ranks.classes
    images = len(ranks.ranks)
    # Three standard deviations of guessing on that many images; a few images cannot ask for more than half-way up.
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
    simulation: Simulation | None,
    int8_logits: Float32Array,
    max_drop: float | None,
) -> tuple[Check, ...]:
    """Everything that a quantized network must pass before its files are published.

    Args:
        proof: that onnxruntime computes what MindSpore computes.
        accuracy: of float and INT8, or None where it was not measured.
        simulation: the ONNX file compared with MindSpore, or None where MindSpore cannot run the network.
        int8_logits: (N, classes), of the exported file on calibration images.
        max_drop: percentage points that top-1 may drop, or None.
    """
    checks = [
        _graph_check(proof),
        Check(
            name="INT8 output is finite",
            passed=bool(np.isfinite(int8_logits).all()),
            detail=f"{len(int8_logits)} calibration images",
        ),
    ]
    if simulation is not None:
        # A value on a rounding boundary may fall either way and move a few logits; a fault moves them all.
        agreement = simulation.agreement
        allowed = _allowed_differences(simulation)
        mean = agreement.mean_difference
        checks.append(
            Check(
                name=f"{simulation.through} equals the ONNX file"
                if simulation.exported
                else "exported file equals the engine's own forward",
                passed=agreement.argmax_differences <= allowed and mean <= _MEAN_DIFFERENCE,
                detail=f"{agreement.argmax_differences} of {agreement.images:,} images differ, {allowed} allowed; mean "
                f"difference {mean:.1e} of the largest logit, {_MEAN_DIFFERENCE:g} allowed",
            )
        )
    if accuracy is not None:
        before, after = accuracy.float_ranks.top1, accuracy.int8_ranks.top1
        checks.append(
            Check(
                name="INT8 top-1 at least half of float",
                passed=after >= before / 2,
                detail=f"float {before:.2f} %, INT8 {after:.2f} %",
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
    """That every file computes the quantized network: 99.8 % of the classes are those of the QDQ graph.

    Args:
        compared: the files.
    """
    return tuple(
        Check(
            name=f"{file.name} equals the QDQ graph",
            passed=file.argmax_differences <= (allowed := _allowed(file.images)),
            detail=f"{file.argmax_differences} of {file.images:,} images differ, {allowed} allowed",
        )
        for file in compared
    )


def agreement_check(training: Outcome, exported: LabelRanks) -> Check:
    """That the exported file is as good as the network that was trained, and not another one.

    Args:
        training: what the training network said.
        exported: of the exported file, on the same images.
    """
    images = len(exported.ranks)
    # One image in a hundred is a whole point: where they are few, two may fall either way, as in other comparisons.
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
    """What a retrained network must pass whose file nothing here can run: the gates, on the training network.

    Args:
        proof: that onnxruntime computes what MindSpore computes.
        ranks: of the float network and of the training network on the same images; None where none were measured.
        max_drop: percentage points that top-1 may drop, or None.
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
        passed=True,  # prove_forward has raised otherwise
        detail=f"largest difference {proof.max_difference:.1e} of the largest logit, {proof.images} images",
    )


def _allowed_differences(simulation: Simulation) -> int:
    """Images whose class may differ: of a MindIR file as of others, of live cells 2 %."""
    images = simulation.agreement.images
    return _allowed(images) if simulation.exported else -(-images // 50)


def _allowed(images: int) -> int:
    """Images whose class may differ between two files of one network: 0.2 %, and 2 where that is less."""
    return max(2, images // 500)
