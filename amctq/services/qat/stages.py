"""What comes of a training, and what was measured before the export of the trained network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amctq.files import Artifact
    from amctq.inference.metrics.measure import Outcome
    from amctq.inference.metrics.score import Score
    from amctq.training.snapshot import TrainingState


@dataclass(frozen=True, kw_only=True, eq=False)
class Stages:
    """The three stages before export, measured on the evaluation images.

    Attributes:
        before: outcome of the float network.
        ptq: score of the network that training started from, after post-training quantization.
        training: outcome of the training network.
    """

    before: Outcome
    ptq: Score
    training: Outcome


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """The result of the training; the network has the parameters of the epoch to export.

    Attributes:
        state: state at the end of the training.
        epoch: the epoch to export.
        outcome: of the training network on the evaluation images; None if there are none.
        resumed_at: the step that this process resumed from; None for a new run.
        history: the training history, in the first worker.
    """

    state: TrainingState
    epoch: int
    outcome: Outcome | None
    resumed_at: int | None
    history: Artifact | None = None
