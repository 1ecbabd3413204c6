"""Runs a launch under msrun, and watches the processes themselves: msrun tells of a failure late, wrongly or never.

    supervisor ─ msrun ─┬ guard ─ scheduler       each ends with its parent, and msrun with the supervisor,
                        ├ guard ─ worker, rank 0  whatever ends that; workers tell how far they are and guards how they
                        └ guard ─ worker, rank 1  ended in status files, which alone are looked at

No process of a launch is left when ``supervise`` returns or raises.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from amctq.distributed.launch_plan import LAUNCH_ID, LOG, SCHEDULER, STATUS, LaunchPlan, msrun_environment
from amctq.distributed.processes import birth, is_alive, marked, signal_group
from amctq.distributed.status import ProcessState, StatusReader
from amctq.errors import WorkerError
from amctq.files import write_whole, writing
from amctq.signals import signals_held

_POLL = 0.2  # seconds
_SETTLE = 0.5  # after a failure, for the others to tell of theirs: the first one counts
_STOP = 2.0  # for processes to end by themselves before they are killed
_DEAD = 30.0  # for killed processes to be gone: one that hangs in a driver is beyond everybody's reach
_TAIL = 15  # lines of a log in a message
OnLine = Callable[[ProcessState, Mapping[str, Any]], None]


def supervise(
    plan: LaunchPlan,
    worker: Mapping[str, Any],
    *,
    on_line: OnLine,
    stall_timeout: float,
    grace: float,
) -> tuple[ProcessState, ...]:
    """Run every rank of this server to its end.

    SIGINT and SIGTERM are passed on to all workers, which then have ``grace`` seconds to end in good order, and are
    delivered when they have; a second one kills the workers at once.

    Args:
        plan: what to run.
        worker: what the workers find under ``worker`` in the launch file.
        on_line: is told of each line of a status file, with what is known of its process.
        stall_timeout: seconds without a line from any rank, after which the run is given up.
        grace: seconds.

    Returns:
        The ranks of this server, all of which have ended well.

    Raises:
        WorkerError: a rank, the scheduler or msrun failed, or none gets any further.
        WriteError: the log directory cannot be written.
        Stopped: by a signal.
    """
    with signals_held() as arrived:
        launch = _Launch(plan=plan, on_line=on_line, stall_timeout=stall_timeout, grace=grace, arrived=arrived)
        launch.prepare(worker)
        try:
            launch.start()
            launch.watch()
        finally:
            launch.stop()
    return tuple(launch.ranks.values())


@dataclass(kw_only=True, eq=False)
class _Launch:
    """``supervise`` while it runs."""

    plan: LaunchPlan
    on_line: OnLine
    stall_timeout: float
    grace: float
    arrived: Sequence[int]
    launch_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    msrun: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        plan = self.plan
        folders = {f"rank {rank.rank}": plan.folder(rank.rank) for rank in plan.local_ranks}
        self.ranks = {name: ProcessState(name=name, log=folder / LOG) for name, folder in folders.items()}
        self.scheduler = ProcessState(name=SCHEDULER, log=plan.scheduler_folder / LOG)
        self.processes = [*self.ranks.values(), *([self.scheduler] if plan.has_scheduler else [])]
        self.readers = {state.name: StatusReader(state.log.with_name(STATUS)) for state in self.processes}
        self.heard = time.monotonic()

    def prepare(self, worker: Mapping[str, Any]) -> None:
        """Make the folders, empty of what a former run has left, and the launch file."""
        plan = self.plan
        processes = {
            str(rank.rank): {
                "folder": str(plan.folder(rank.rank)),
                "command": [*plan.command, str(plan.launch_file.absolute())],
                "environment": rank.environment,
                "cores": rank.cores,
            }
            for rank in plan.local_ranks
        }
        processes[SCHEDULER] = {
            "folder": str(plan.scheduler_folder),
            "command": plan.scheduler,
            "environment": {},
            "cores": [],
        }
        supervisor = {"pid": os.getpid(), "birth": birth(os.getpid())}
        launch = {"supervisor": supervisor, "processes": processes, "worker": worker}
        with writing(plan.log_dir):
            plan.server_folder.mkdir(parents=True, exist_ok=True)
            for state in self.processes:
                state.log.parent.mkdir(exist_ok=True)
                for name in (LOG, STATUS):
                    state.log.with_name(name).unlink(missing_ok=True)
        write_whole(plan.launch_file, [json.dumps(launch, indent=1).encode()])

    def start(self) -> None:
        """Start msrun, in a session of its own: Ctrl-C is this process's to pass on."""
        guard = ["-m", "amctq.distributed.guard", str(self.plan.launch_file.absolute())]
        tether = [sys.executable, "-m", "amctq.distributed.tether", str(os.getpid()), birth(os.getpid()) or ""]
        with writing(self.msrun_log), self.msrun_log.open("wb") as log:
            self.msrun = subprocess.Popen(
                [*tether, *self.plan.launching(guard)],
                env=msrun_environment(self.launch_id),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def msrun_log(self) -> Path:
        """What msrun itself says."""
        return self.plan.server_folder / LOG

    def watch(self) -> None:
        """Until every rank has ended well, or a signal has ended them."""
        while any(state.exit_code is None for state in self.ranks.values()):
            if self.arrived:
                self.pass_on()
                return
            self.look()
            self.refuse_failure()
            self.refuse_stall()
            time.sleep(_POLL)
        self.refuse_failure()

    def look(self) -> None:
        """Read what the processes have told."""
        for state in self.processes:
            for line in self.readers[state.name].new():
                state.take(line)
                if state is not self.scheduler:
                    self.heard = time.monotonic()
                    self.on_line(state, line)

    def guards(self) -> list[int]:
        """Process groups of the ranks that have started."""
        return [state.guard for state in self.ranks.values() if state.guard is not None]

    def running(self) -> list[ProcessState]:
        """LabelRanks that have started and not ended."""
        started = [state for state in self.ranks.values() if state.guard is not None and state.exit_code is None]
        return [state for state in started if is_alive(state.guard or 0)]

    def pass_on(self) -> None:
        """Give the workers the signal that has arrived, and time to save."""
        given: set[int] = set()
        until = time.monotonic() + self.grace
        while True:
            self.look()  # a worker may have started just before the signal, or since
            running = self.running()
            for guard in {state.guard for state in running if state.guard is not None} - given:
                signal_group(guard, self.arrived[0])
                given.add(guard)
            if not running or time.monotonic() > until or len(self.arrived) > 1:
                return
            first = self.ranks.get("rank 0")
            if first is not None and first.exit_code is not None:  # it alone has something to save
                until = min(until, first.ended + _STOP if first.ended is not None else until)
            time.sleep(_POLL)

    def refuse_failure(self) -> None:
        """Name the first process that has failed, if one has."""
        if not self.failed():
            return
        until = time.monotonic() + _SETTLE
        while time.monotonic() < until and self.running():
            time.sleep(_POLL / 4)
            self.look()
        first = min(self.failed(), key=lambda state: (state.ended is None, state.ended or 0.0))
        if first.exit_code is None:
            self.fail(first, "is gone, and has not told how it ended", hint="see whether memory has run out: dmesg")
        error = first.error or {}
        said = f": {error['message']}" if error else ""
        self.fail(first, first.ending + said, hint=error.get("hint"), data=error.get("data"))

    def failed(self) -> list[ProcessState]:
        """Processes that have ended badly."""
        bad = [state for state in self.processes if state.exit_code or self.is_gone(state)]
        if not bad and self.msrun is not None and self.msrun.poll() is not None:
            self.look()  # what the last rank told just before
            if any(state.exit_code is None for state in self.ranks.values()):
                self.fail_of_msrun()
        return bad

    def is_gone(self, state: ProcessState) -> bool:
        """Whether a process has ended without its guard's having told so, as when both are killed."""
        if state.guard is None or state.exit_code is not None or is_alive(state.guard):
            return False
        self.look()
        return state.exit_code is None

    def refuse_stall(self) -> None:
        """Give up where no rank has told of anything for long."""
        silent = time.monotonic() - self.heard
        if silent > self.stall_timeout:
            told = "; ".join(f"{state.name}: {state.told}" for state in self.ranks.values())
            message = f"no rank got any further for {silent:.0f} s (--stall-timeout {self.stall_timeout:g}): {told}"
            hint = f"see the logs in {self.plan.log_dir}; what takes longer by nature needs a longer --stall-timeout"
            raise WorkerError(message, hint=hint, data=self.data())

    def fail(
        self, state: ProcessState, how: str, *, hint: str | None = None, data: Mapping[str, Any] | None = None
    ) -> NoReturn:
        """Name a process, how it ended, and the last that it said."""
        tail = state.tail(_TAIL)
        shown = "".join(f"\n    {line}" for line in tail)
        message = f"{state.name} {how}; the last of {state.log}:{shown or ' nothing'}"
        measured = self.data() | {"failed": state.name, "exit_code": state.exit_code, "log_tail": tail}
        measured |= {"error": None if state.error is None else dict(state.error)} | ({"report": data} if data else {})
        raise WorkerError(message, hint=hint or f"see {state.log}; the others have been stopped", data=measured)

    def fail_of_msrun(self) -> NoReturn:
        assert self.msrun is not None
        state = ProcessState(name="msrun", log=self.msrun_log, exit_code=self.msrun.returncode)
        self.fail(state, f"{state.ending}, and not all ranks have ended")

    def data(self) -> dict[str, Any]:
        """How far every rank is, ready for JSON."""
        return {
            "ranks": [
                {"name": state.name, "step": state.step, "exit_code": state.exit_code, "log": str(state.log)}
                for state in self.ranks.values()
            ]
        }

    def stop(self) -> None:
        """End every process of the launch that is left: asked first, then killed, whatever comes between."""
        try:
            self.ask_to_end()
        finally:
            self.kill()

    def ask_to_end(self) -> None:
        """Give the ranks that are left a moment to end by themselves."""
        self.look()
        if self.msrun is not None and self.running():
            # Else msrun would kill the workers that clear away as soon as it sees the first one end badly.
            signal_group(self.msrun.pid, signal.SIGSTOP)
            for group in self.guards():
                signal_group(group, signal.SIGTERM)
            until = time.monotonic() + _STOP
            while time.monotonic() < until and self.running():
                time.sleep(_POLL / 4)
                self.look()

    def kill(self) -> None:
        """Kill every process of the launch that is left, and wait until all are gone."""
        if self.msrun is not None:
            signal_group(self.msrun.pid, signal.SIGKILL)  # and with it the scheduler
        for group in self.guards():
            signal_group(group, signal.SIGKILL)
        until = time.monotonic() + _DEAD
        while (pids := marked(LAUNCH_ID, self.launch_id)) and time.monotonic() < until:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(_POLL / 4)
        if self.msrun is not None:
            self.msrun.wait()
