"""The loop of a training run: steps, evaluations, checkpoints, and an end in good order whatever ends it.

A run goes through the same states whether it is stopped or not: all that a step depends on is the step's number, what
stands in the snapshot, and the images. Several devices go through it side by side and stop after the same step; the
first of them alone evaluates and writes.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from amctq.data.samples import Batch
from amctq.errors import CheckError, InputError, Stopped, Terminated
from amctq.progress import Reporter
from amctq.quant.numerics import Float32Array
from amctq.signals import signal_handlers_kept, signals_held
from amctq.training.batches import TrainingBatches
from amctq.training.history import History
from amctq.training.pace import Pace
from amctq.training.process_group import ProcessGroup, SingleProcess
from amctq.training.recipe import Recipe
from amctq.training.snapshot import Score, Snapshot, TrainingState
from amctq.training.store import CheckpointStore


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingRun:
    """What is trained, on what, and how.

    Attributes:
        step: a ``training.step.TrainingStep``.
        parameters: by name, what a checkpoint must hold of its network.
        recipe: how.
        batches: the images.
        teacher: logits (N, classes) for images (N, C, H, W), where the recipe distils.
        evaluate: gives top-1 and top-5 in percent; calls what it is given with the images done. None for no
            evaluation.
        evaluation_images: that it runs.
        save_every: steps between two checkpoints.
        group: the devices that train together.
    """

    step: Any
    parameters: Mapping[str, Any]
    recipe: Recipe
    batches: TrainingBatches
    teacher: Callable[[Float32Array], Float32Array] | None
    evaluate: Callable[[Callable[[int], None]], tuple[float, float]] | None
    evaluation_images: int
    save_every: int
    group: ProcessGroup = field(default_factory=SingleProcess)

    def snapshot(self, state: TrainingState) -> Snapshot:
        """The run's arrays as they are now, with ``state``."""
        return Snapshot(state=state, arrays={name: item.asnumpy() for name, item in self._all().items()})

    def restore(self, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Put the arrays of a snapshot of this run in place.

        Raises:
            InputError: they are those of another network.
        """
        from mindspore import Tensor

        own = self._all()
        shapes = {name: tuple(item.shape) for name, item in own.items()}
        odd = [name for name in {**own, **arrays} if name not in arrays or shapes.get(name) != arrays[name].shape]
        if odd:
            message = f"the checkpoint belongs to another network: {', '.join(odd[:5])} differ"
            raise InputError(message, hint="another version of amctq may have written it: begin anew with --force")
        for name, item in own.items():
            item.set_data(Tensor(arrays[name]))

    def share(self) -> None:
        """Give all devices the arrays of the first one."""
        self.group.share_arrays(self._all())

    def digest(self) -> int:
        """Of all arrays as they are now, 48 bits."""
        digest = hashlib.sha256()
        for name, item in self._all().items():
            digest.update(name.encode() + item.asnumpy().tobytes())
        return int.from_bytes(digest.digest()[:6], "big")

    def _all(self) -> dict[str, Any]:
        return {**self.parameters, **{item.name: item for item in self.step.moments}}


class _SignalError(Exception):
    """A signal has arrived while the network was evaluated, which is done anew when the run goes on."""


def train(
    run: TrainingRun,
    state: TrainingState,
    *,
    saved: Path | None,
    store: CheckpointStore | None,
    history: History | None,
    reporter: Reporter,
) -> TrainingState:
    """Train to the end of the recipe.

    SIGINT and SIGTERM let the step finish, save a checkpoint, and are delivered then. One that reaches any of several
    devices ends the run on all of them.

    Args:
        run: what is trained; its parameters are those of ``state``.
        state: where it begins or goes on.
        saved: the checkpoint that holds it; None on a device that does not write.
        store: where further checkpoints go; None likewise.
        history: where losses and scores go; None likewise.
        reporter: is told of steps and evaluations.

    Returns:
        The state at the end, which is saved.

    Raises:
        CheckError: the loss or a parameter is no longer finite.
        WriteError: a checkpoint or the history cannot be written.
        InputError: an image cannot be read.
        Stopped: by a signal, after saving.
    """
    loop = _Loop(run=run, state=state, saved=saved, saved_state=state, store=store, history=history, reporter=reporter)
    try:
        with signals_held() as loop.arrived, ThreadPoolExecutor(max_workers=1, thread_name_prefix="amctq-data") as data:
            loop.run_all(data)
        if loop.stopping:
            raise Terminated  # another device was told so, this one was not
    except Stopped as stopped:
        if loop.saved is not None:
            stopped.left = f"step {loop.state.step:,} is saved as {loop.saved}; go on with --resume"
        raise
    return loop.state


@dataclass(kw_only=True, eq=False)
class _Loop:
    """``train`` while it runs: how far it is, and what is on disk of it."""

    run: TrainingRun
    state: TrainingState
    saved: Path | None
    saved_state: TrainingState
    store: CheckpointStore | None
    history: History | None
    reporter: Reporter
    arrived: list[int] = field(default_factory=list)
    stopping: bool = False
    frozen: bool = False
    told: str = ""
    figures: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rates = self.run.recipe.learning_rates()
        self.pace = Pace(images=self.run.recipe.batch_size)

    @property
    def epoch(self) -> int:
        """The epoch that has been reached, from 1."""
        return math.ceil(self.state.step / self.run.recipe.steps_per_epoch)

    @property
    def at_an_end(self) -> bool:
        """Whether the last step was the last of an epoch or of the run."""
        step, recipe = self.state.step, self.run.recipe
        return step > 0 and (step % recipe.steps_per_epoch == 0 or step == recipe.steps)

    def run_all(self, data: ThreadPoolExecutor) -> None:
        while True:
            self.stopping = self.run.group.agree(stop=bool(self.arrived))
            if self.at_an_end and self.epoch > self.state.evaluated and not self.stopping:
                self.evaluate()
            if self.state.step % self.run.save_every == 0 or self.stopping or self.state.step == self.run.recipe.steps:
                self.save()
            if self.stopping or self.state.step == self.run.recipe.steps:
                return
            self.one_epoch(data)

    def one_epoch(self, data: ThreadPoolExecutor) -> None:
        """To the end of the epoch that has been begun, or until a signal arrives."""
        recipe, first = self.run.recipe, self.state.step
        end = min((first // recipe.steps_per_epoch + 1) * recipe.steps_per_epoch, recipe.steps)
        self.run.step.set_train(True)
        with self.reporter.phase("training", recipe.steps, "steps", done=first) as advance:
            upcoming = data.submit(self.run.batches.batch, first)
            for step in range(first, end):
                batch = upcoming.result()
                if step + 1 < end:
                    upcoming = data.submit(self.run.batches.batch, step + 1)
                self.one_step(batch)
                advance(step + 1, self.told, self.figures)
                if self.pace.is_time_to_talk():
                    self.reporter.info(f"step {step + 1:,} of {recipe.steps:,}, {self.told}")
                if self.stopping:
                    return
                if (step + 1) % self.run.save_every == 0 and step + 1 < end:
                    self.save()

    def one_step(self, batch: Batch) -> None:
        """Train on a batch."""
        from mindspore import Tensor

        step, recipe = self.state.step, self.run.recipe
        if recipe.freeze_bn_step is not None and step >= recipe.freeze_bn_step and not self.frozen:
            self.run.step.freeze_statistics()
            self.frozen = True
            self.pace.restart()
        images, labels = batch
        rate = self.rates[step]
        taught = np.zeros(1, np.float32) if self.run.teacher is None else self.run.teacher(images)
        stop = np.float32(bool(self.arrived))
        with signal_handlers_kept():
            output = self.run.step(
                Tensor(images), Tensor(labels.astype(np.int32)), Tensor(taught), Tensor(rate), Tensor(stop)
            )
            own, loss, stops = map(float, output.asnumpy())
        worker = self.run.group.worker
        self.stopping = stops > 0 or (bool(self.arrived) and worker.size == 1)  # of others, all must stop alike
        if not math.isfinite(loss):
            self.diverged(f"the loss is {loss} at step {step + 1:,} of epoch {step // recipe.steps_per_epoch + 1}")
        self.state = replace(self.state, step=step + 1)
        if self.history is not None:
            self.history.step(step=step + 1, epoch=self.epoch, loss=loss, learning_rate=float(rate))
        self.pace.step_done()
        self.figures = {"loss": own, "images_per_second": (self.pace.images_per_second or 0.0) / worker.size}
        if worker.digests:
            self.figures["digest"] = self.run.digest()
        self.told = (
            f"epoch {self.epoch} of {recipe.epochs}: loss {loss:.4f}, learning rate {rate:.3g}"
            f"{self.pace.told(recipe.steps - step - 1)}"
        )

    def evaluate(self) -> None:
        """Measure the network at the end of an epoch, and keep it where it is the best so far."""
        if not self.run.group.worker.is_first or self.run.evaluate is None:
            self.stopping = self.run.group.agree(stop=bool(self.arrived))
            if not self.stopping:
                self.state = replace(self.state, evaluated=self.epoch)
            return

        def advance(done: int) -> None:
            if self.arrived:
                raise _SignalError
            progress(done)

        top1 = top5 = 0.0
        with (
            contextlib.suppress(_SignalError),
            self.reporter.phase("evaluation", self.run.evaluation_images) as progress,
        ):
            top1, top5 = self.run.evaluate(advance)
        self.stopping = self.run.group.agree(stop=bool(self.arrived))
        if self.stopping:
            return
        score = Score(epoch=self.epoch, top1=top1, top5=top5)
        better = self.state.best is None or score.top1 > self.state.best.top1
        best = score if better else self.state.best
        self.state = replace(self.state, evaluated=self.epoch, last=score, best=best)
        assert self.history is not None
        assert self.store is not None
        self.history.score(step=self.state.step, score=score)
        kept = ", the best so far" if better else ""
        told = self.told or f"epoch {self.epoch} of {self.run.recipe.epochs}"
        self.reporter.info(f"{told}; top-1 {top1:.2f} %{kept}")
        if better:
            self.saved = self.store.save_best(self.snapshot()).path
        self.pace.restart()

    def save(self) -> None:
        """Write a checkpoint, unless the state is in one."""
        known = self.saved_state.step, self.saved_state.evaluated
        if self.store is not None and (self.state.step, self.state.evaluated) != known:
            self.saved = self.store.save(self.snapshot()).path
            self.saved_state = self.state
            self.pace.restart()

    def snapshot(self) -> Snapshot:
        """Of this moment, if it is worth keeping."""
        snapshot = self.run.snapshot(self.state)
        for name, array in snapshot.arrays.items():
            if not np.isfinite(array).all():
                self.diverged(f"{name} holds NaN or infinity after step {self.state.step:,}")
        return snapshot

    def diverged(self, what: str) -> NoReturn:
        """Stop the run: nothing good comes of it any more."""
        good = "" if self.saved is None else f"; the last good checkpoint is {self.saved}"
        message = f"training diverged: {what}{good}"
        raise CheckError(
            message, hint=f"begin again with a lower --lr-max (it was {self.run.recipe.lr_max:g}) and --force"
        )
