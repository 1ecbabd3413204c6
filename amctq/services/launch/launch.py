"""``amctq launch-distributed``: quantization-aware training on several devices, under MindSpore's own msrun."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amctq.distributed.launch_plan import STATUS, LaunchPlan
from amctq.distributed.status import ProcessState, has_ended_well
from amctq.distributed.supervisor import supervise
from amctq.errors import (
    AmctqError,
    CheckError,
    InputError,
    Stopped,
    UnavailableError,
    UsageError,
    WorkerError,
    WriteError,
)
from amctq.files import Artifact, writing
from amctq.folder_lock import FolderLock
from amctq.json_file import read_json_object
from amctq.leftovers import Leftover, watched
from amctq.progress import Ended, Notice, OnEvent, Progress, Reporter, silent
from amctq.services.launch.plan import plan_launch, refuse_used_port
from amctq.services.launch.request import LaunchRequest
from amctq.services.launch.result import LaunchPreview, LaunchResult
from amctq.services.qat.images import choose_images, open_images, recipe_for
from amctq.services.qat.plan import plan_qat
from amctq.services.qat.worker_spec import worker_spec
from amctq.services.run.plan import REPORT
from amctq.training.process_group import Worker

_SHOWN = 64  # at most so many workers get a progress bar


def launch_distributed(request: LaunchRequest, on_event: OnEvent = silent) -> LaunchResult:
    """Run ``qat`` on several devices: start the workers, watch them, and return the result of rank 0.

    Args:
        request: the request.
        on_event: receives the progress of every worker, and the notices and warnings of rank 0.

    Returns:
        The result that rank 0 measured; its files are in the output directory.

    Raises:
        UsageError: options contradict each other, files would be overwritten, or the port is in use.
        InputError: rank table, datasets, checkpoint, configuration or record are missing or not valid.
        UnavailableError: there are fewer devices than workers.
        CheckError: the training diverged, or the INT8 file fails a check.
        WorkerError: a worker failed, or no worker makes progress.
        WriteError: the log directory cannot be written.
        Stopped: by a signal; during the training, after a checkpoint has been saved.
    """
    reporter, begin = Reporter(on_event), time.perf_counter()
    plan = plan_launch(request, reporter)
    refuse_used_port(plan)
    leftover = _refuse_bad_input(request, plan)
    reporter.info(
        f"{len(plan.ranks)} workers on {plan.nodes} server(s), {len(plan.local_ranks)} here, scheduler at "
        f"{plan.master_addr}:{plan.master_port}; logs in {plan.log_dir}"
    )
    spec = worker_spec(request.qat, size=len(plan.ranks), digests=request.step_digests)
    relay = _Relay(on_event, len(plan.local_ranks))
    with watched(leftover), _locked(plan.server_folder):
        try:
            ranks = supervise(plan, spec, on_line=relay, stall_timeout=request.stall_timeout, grace=request.grace)
        except WorkerError as error:
            raise _as_qat_error(error) from None
        except Stopped as stopped:
            stopped.left = relay.left
            raise
        finally:
            leftover.clear()  # all processes have ended: rank 0 may have had no time to do it
    artifacts = tuple(
        Artifact(path=Path(item["path"]), bytes=item["bytes"], sha256=item["sha256"]) for item in ranks[0].artifacts
    )
    report = None
    if plan.has_scheduler:
        path = request.qat.output_dir / REPORT
        report = read_json_object(path, what="report", option="--output-dir", takes="what rank 0 has written there")
    return LaunchResult(
        plan=plan,
        report=report,
        artifacts=artifacts,
        ranks=ranks,
        warnings=tuple(reporter.warnings),
        seconds=time.perf_counter() - begin,
    )


def preview_launch(request: LaunchRequest, on_event: OnEvent = silent) -> LaunchPreview:
    """Check the plan of a launch, and return what it would do, without reading data, starting workers or writing.

    The servers need not exist: the script for a cluster can be checked on a laptop.

    Raises:
        UsageError: options contradict each other.
        InputError: the rank table is missing or not valid.
        UnavailableError: there are fewer devices than workers.
    """
    reporter = Reporter(on_event)
    plan = plan_launch(request, reporter, simulated=True)
    return LaunchPreview(plan=plan, warnings=tuple(reporter.warnings))


def _refuse_bad_input(request: LaunchRequest, plan: LaunchPlan) -> Leftover:
    """Refuse input that would make every worker fail, before they start and with the right exit code.

    Returns:
        What rank 0 leaves if it is killed; nothing where it is on another server.
    """
    qat = plan_qat(request.qat, Worker(rank=0 if plan.has_scheduler else 1, size=len(plan.ranks)))
    if plan.has_scheduler:
        qat.output().check()
    recipe_for(qat, choose_images(qat, open_images(qat, Reporter())))
    former = [plan.folder(rank.rank) for rank in plan.local_ranks if has_ended_well(plan.folder(rank.rank) / STATUS)]
    if former and not (request.qat.force or request.qat.resume):
        message = f"{plan.log_dir} already holds {', '.join(folder.name for folder in former)} of a finished run"
        raise UsageError(message, hint="pass --force to replace these logs, or choose another --log-dir")
    return qat.output().leftover() if plan.has_scheduler else Leftover()


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = FolderLock(folder)
    with watched(Leftover(claimed=folder)):
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(by="another launch", instead="--log-dir")
        try:
            yield
        finally:
            lock.release()


def _as_qat_error(error: WorkerError) -> AmctqError:
    """Return the error of the first worker that failed, as ``qat`` raises it on one device; else ``error``.

    For example, a wrong checkpoint or a failed check keeps its own exit code, as in ``qat``.
    """
    found = (error.data or {}).get("error") or {}
    kinds = {kind.code: kind for kind in (UsageError, InputError, UnavailableError, CheckError, WriteError)}
    kind = kinds.get(found.get("code", ""))
    if kind is None:
        return error
    return kind(found["message"], hint=found["hint"], data=found["data"])


@dataclass(kw_only=False, eq=False)
class _Relay:
    """Passes on the progress of all workers, and the notices of rank 0."""

    on_event: OnEvent
    size: int
    left: str = Stopped.left

    def __call__(self, state: ProcessState, line: Mapping[str, Any]) -> None:
        if state.name == "rank 0" and line["event"] == "progress" and state.step is not None:
            self.left = "the workers had to be killed; checkpoints saved before that can be used with --resume"
        if line["event"] == "progress" and self.size <= _SHOWN:
            note = ""
            if "loss" in state.figures:
                note = f"loss {state.figures['loss']:.4f}, {state.figures['images_per_second']:,.0f} images/s"
            phase, done, total, unit = (line[name] for name in ("phase", "done", "total", "unit"))
            self.on_event(Progress(phase=phase, done=done, total=total, unit=unit, note=note, lane=state.name))
        elif state.name == "rank 0" and line["event"] == "notice":
            self.on_event(Notice(level=line["level"], text=line["text"]))
        elif state.name == "rank 0" and line["event"] == "ended":
            self.on_event(Ended(phase=line["phase"], seconds=line["seconds"]))
        elif state.name == "rank 0" and line["event"] == "error":
            self.left = line["message"]
