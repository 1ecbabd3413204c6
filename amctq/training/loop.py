"""The loop of a training run: steps, evaluations, checkpoints, and an orderly end.

A run goes through the same states whether it is stopped or not: a step depends only on its number, on the snapshot and
on the images. Several workers run the loop side by side and stop after the same step; only the first one evaluates and
writes.
"""

from __future__ import annotations

import contextlib
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

import numpy as np

from amctq.data.samples import Batch
from amctq.errors import CheckError, InputError, Stopped, Terminated, first_line
from amctq.inference.metrics.score import Score
from amctq.progress import Reporter
from amctq.signals import signal_handlers_kept, signals_held
from amctq.training.history import History
from amctq.training.pace import Pace
from amctq.training.run import TrainingRun
from amctq.training.snapshot import EpochScore, Snapshot, TrainingState
from amctq.training.store import CheckpointStore

TRAINING, EVALUATION = "training", "evaluation"  # phases


class _SignalError(Exception):
    """A signal has arrived during an evaluation. The evaluation is repeated when the run is resumed."""


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

    On SIGINT or SIGTERM the step is finished and a checkpoint is saved; then the signal is delivered. A signal that
    reaches one of several workers ends the run on all of them.

    Args:
        run: what is trained; its parameters are those of ``state``.
        state: where the run begins or is resumed.
        saved: the checkpoint that holds ``state``; None on a worker that does not write.
        store: where further checkpoints go; None on such a worker.
        history: where losses and scores go; None on such a worker.
        reporter: receives steps and evaluations.

    Returns:
        The state at the end, which is saved.

    Raises:
        CheckError: the loss or a parameter is no longer finite.
        WriteError: a checkpoint or the history cannot be written.
        InputError: an image cannot be read.
        Stopped: a signal arrived; the state is saved.
    """
    loop = _Loop(run=run, state=state, saved=saved, saved_state=state, store=store, history=history, reporter=reporter)
    try:
        with signals_held() as loop.arrived, ThreadPoolExecutor(max_workers=1, thread_name_prefix="amctq-data") as data:
            loop.run_all(data)
        if loop.stopping:
            raise Terminated  # the signal reached another worker
    except Stopped as stopped:
        if loop.saved is not None:
            stopped.left = f"step {loop.state.step:,} is saved as {loop.saved}; continue with --resume"
        raise
    return loop.state


@dataclass(kw_only=True, eq=False)
class _Loop:
    """The state of ``train``: how far it is, and what is on disk."""

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
    line: str = ""
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
        """Train to the end of the current epoch, or until a signal arrives."""
        recipe, first = self.run.recipe, self.state.step
        end = min((first // recipe.steps_per_epoch + 1) * recipe.steps_per_epoch, recipe.steps)
        self.run.step.set_train(True)
        with self.reporter.phase(TRAINING, recipe.steps, "steps", done=first) as advance:
            upcoming = data.submit(self.run.batches.batch, first)
            for step in range(first, end):
                batch = upcoming.result()
                if step + 1 < end:
                    upcoming = data.submit(self.run.batches.batch, step + 1)
                self.one_step(batch)
                advance(step + 1, self.line, self.figures)
                if self.pace.is_line_due():
                    self.reporter.info(f"step {step + 1:,} of {recipe.steps:,}, {self.line}")
                if self.stopping:
                    return
                if (step + 1) % self.run.save_every == 0 and step + 1 < end:
                    self.save()

    def one_step(self, batch: Batch) -> None:
        """Train on a batch."""
        from amctq.training.step import step_arguments

        step, recipe = self.state.step, self.run.recipe
        if recipe.freeze_bn_step is not None and step >= recipe.freeze_bn_step and not self.frozen:
            self.run.step.freeze_statistics()
            self.frozen = True
            self.pace.restart()
        inputs, targets = batch
        rate = self.rates[step]
        taught = (np.zeros(1, np.float32),) if self.run.teacher is None else self.run.teacher(inputs)
        stop = np.float32(bool(self.arrived))
        worker = self.run.group.worker
        try:
            with signal_handlers_kept():
                output = self.run.step(*step_arguments(inputs, targets, taught, rate, stop))
                own, loss, stops = map(float, output.asnumpy())
        except (RuntimeError, TypeError, ValueError) as error:
            if worker.size > 1:  # another worker may be gone
                raise
            message = f"MindSpore cannot train this network: {first_line(error)}"
            raise InputError(
                message, hint="check that it can be trained by itself, on images of --image-size"
            ) from error
        # Several workers must stop after the same step.
        self.stopping = stops > 0 or (bool(self.arrived) and worker.size == 1)
        if not math.isfinite(loss):
            self.diverged(f"the loss is {loss} at step {step + 1:,} of epoch {step // recipe.steps_per_epoch + 1}")
        self.state = replace(self.state, step=step + 1)
        if self.history is not None:
            self.history.step(step=step + 1, epoch=self.epoch, loss=loss, learning_rate=float(rate))
        self.pace.step_done()
        self.figures = {"loss": own, "images_per_second": (self.pace.images_per_second or 0.0) / worker.size}
        if worker.digests:
            self.figures["digest"] = self.run.digest()
        self.line = (
            f"epoch {self.epoch} of {recipe.epochs}: loss {loss:.4f}, learning rate {rate:.3g}"
            f"{self.pace.format_rate(recipe.steps - step - 1)}"
        )

    def evaluate(self) -> None:
        """Measure the network at the end of an epoch, and save it if it is the best so far."""
        if not self.run.group.worker.is_first or self.run.evaluate is None:
            self.stopping = self.run.group.agree(stop=bool(self.arrived))
            if not self.stopping:
                self.state = replace(self.state, evaluated=self.epoch)
            return

        def advance(done: int) -> None:
            if self.arrived:
                raise _SignalError
            progress(done)

        measured: Score | None = None
        with (
            contextlib.suppress(_SignalError),
            self.reporter.phase(EVALUATION, self.run.evaluation_images) as progress,
        ):
            measured = self.run.evaluate(advance)
        self.stopping = self.run.group.agree(stop=bool(self.arrived))
        if self.stopping or measured is None:
            return
        metric = measured.metric
        score = EpochScore(epoch=self.epoch, metric=metric.key, figures=dict(measured.figures))
        best = self.state.best
        better = best is None or (score.value > best.value if metric.rises else score.value < best.value)
        self.state = replace(self.state, evaluated=self.epoch, last=score, best=score if better else best)
        assert self.history is not None
        assert self.store is not None
        self.history.score(step=self.state.step, score=score)
        kept = ", the best so far" if better else ""
        line = self.line or f"epoch {self.epoch} of {self.run.recipe.epochs}"
        self.reporter.info(f"{line}; {metric.said(score.value)}{kept}")
        if better:
            self.saved = self.store.save_best(self.snapshot()).path
        self.pace.restart()

    def save(self) -> None:
        """Write a checkpoint, unless this state is saved already."""
        known = self.saved_state.step, self.saved_state.evaluated
        if self.store is not None and (self.state.step, self.state.evaluated) != known:
            self.saved = self.store.save(self.snapshot()).path
            self.saved_state = self.state
            self.pace.restart()

    def snapshot(self) -> Snapshot:
        """The run as it is now, refused if an array is no longer finite."""
        snapshot = self.run.snapshot(self.state)
        for name, array in snapshot.arrays.items():
            if not np.isfinite(array).all():
                self.diverged(f"{name} holds NaN or infinity after step {self.state.step:,}")
        return snapshot

    def diverged(self, what: str) -> NoReturn:
        """Stop the run, because it cannot recover."""
        good = "" if self.saved is None else f"; the last good checkpoint is {self.saved}"
        message = f"training diverged: {what}{good}"
        raise CheckError(
            message, hint=f"begin again with a lower --lr-max (it was {self.run.recipe.lr_max:g}) and --force"
        )
