"""What is trained, on what, and how."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from amctq.data.inputs import Inputs
from amctq.errors import InputError
from amctq.inference.metrics.score import Score
from amctq.inference.session import Outputs
from amctq.training.batches import TrainingBatches
from amctq.training.process_group import ProcessGroup, SingleProcess
from amctq.training.recipe import Recipe
from amctq.training.snapshot import Snapshot, TrainingState


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingRun:
    """One training run; its arrays can be read, replaced and shared.

    Attributes:
        step: a ``training.step.TrainingStep``.
        parameters: what a checkpoint must hold of its network, by name.
        recipe: how it is trained.
        batches: the samples.
        teacher: gives the float network's outputs for a batch; None without distillation.
        evaluate: measures the network, and calls its argument with the number of samples done; None for no evaluation.
        evaluation_images: how many samples ``evaluate`` runs.
        save_every: steps between two checkpoints.
        group: the workers that train together.
    """

    step: Any
    parameters: Mapping[str, Any]
    recipe: Recipe
    batches: TrainingBatches
    teacher: Callable[[Inputs], Outputs] | None
    evaluate: Callable[[Callable[[int], None]], Score] | None
    evaluation_images: int
    save_every: int
    group: ProcessGroup = field(default_factory=SingleProcess)

    def snapshot(self, state: TrainingState) -> Snapshot:
        """The run's arrays as they are now, with ``state``."""
        return Snapshot(state=state, arrays={name: item.asnumpy() for name, item in self._all().items()})

    def restore(self, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Set all arrays to those of a snapshot of this run.

        Raises:
            InputError: they are those of another network.
        """
        from mindspore import Tensor, dtype_to_nptype

        own = self._all()
        kinds = {name: (tuple(item.shape), np.dtype(dtype_to_nptype(item.dtype))) for name, item in own.items()}
        given = {name: (array.shape, array.dtype) for name, array in arrays.items()}
        odd = [name for name in {**own, **arrays} if kinds.get(name) != given.get(name)]
        if odd:
            message = f"the checkpoint belongs to another network: {', '.join(odd[:5])} differ"
            raise InputError(message, hint="another version of amctq may have written it: start again with --force")
        for name, item in own.items():
            item.set_data(Tensor(arrays[name]))

    def share(self) -> None:
        """Give all workers the arrays of the first one."""
        self.group.share_arrays(self._all())

    def digest(self) -> int:
        """The first 48 bits of a hash of all arrays as they are now."""
        digest = hashlib.sha256()
        for name, item in self._all().items():
            digest.update(name.encode() + item.asnumpy().tobytes())
        return int.from_bytes(digest.digest()[:6], "big")

    def _all(self) -> dict[str, Any]:
        return {**self.parameters, **{item.name: item for item in self.step.moments}}
