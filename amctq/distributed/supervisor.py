"""Runs a launch under msrun, and watches the processes itself: msrun reports a failure late, wrongly or never.

    supervisor ─ msrun ─┬ guard ─ scheduler       Each process ends with its parent, and msrun with the supervisor.
                        ├ guard ─ worker, rank 0  Workers write their progress to status files, guards how the workers
                        └ guard ─ worker, rank 1  ended. The supervisor reads nothing else.

No process of a launch is left when ``supervise`` returns or raises.
"""

from __future__ import annotations

import contextlib
import json
import math
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

from amctq.distributed.environment import msrun_environment
from amctq.distributed.launch_plan import LOG, SCHEDULER, STATUS, LaunchPlan
from amctq.distributed.processes import birth, is_alive, marked, signal_group
from amctq.distributed.status import ProcessState, StatusReader
from amctq.errors import WorkerError
from amctq.files import write_whole, writing
from amctq.leftovers import LAUNCH_ID, temporary_folder
from amctq.signals import signals_held

_POLL = 0.2  # seconds
_SETTLE = 0.5  # after a failure, for the others to report theirs: the first one counts
_STOP = 2.0  # for processes to end by themselves before they are killed
_UNTRAINED = 5.0  # the same after a signal, while there is nothing to save yet
_DEAD = 30.0  # for killed processes to end: one that hangs in a driver may never end
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

    SIGINT and SIGTERM are passed on to all workers, which then have ``grace`` seconds to save and end, or a few seconds
    if no step has been trained. After that the signal is delivered. A second signal kills the workers at once.

    Args:
        plan: what to run.
        worker: the value of ``worker`` in the launch file.
        on_line: is called with each line of a status file and the state of its process.
        stall_timeout: seconds without a line from any rank, after which the run is stopped.
        grace: seconds.

    Returns:
        The ranks of this server, which have all ended with exit code 0.

    Raises:
        WorkerError: a rank, the scheduler or msrun failed, or no rank makes progress.
        WriteError: the log directory cannot be written.
        Stopped: a signal arrived.
    """
    with signals_held() as arrived, temporary_folder() as scratch:
        launch = _Launch(
            plan=plan, scratch=scratch, on_line=on_line, stall_timeout=stall_timeout, grace=grace, arrived=arrived
        )
        launch.prepare(worker)
        try:
            launch.start()
            launch.watch()
        finally:
            launch.stop()
    return tuple(launch.ranks.values())


@dataclass(kw_only=True, eq=False)
class _Launch:
    """The state of ``supervise``."""

    plan: LaunchPlan
    scratch: Path
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
        """Make the folders and the launch file, and remove the logs of a former run."""
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
        scheduler = {"folder": str(plan.scheduler_folder), "command": plan.scheduler}
        processes[SCHEDULER] = scheduler | {"environment": {}, "cores": []}
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
        """Start msrun in its own session, so that Ctrl-C reaches only this process, which passes it on."""
        guard = ["-m", "amctq.distributed.guard", str(self.plan.launch_file.absolute())]
        tether = [sys.executable, "-m", "amctq.distributed.tether", str(os.getpid()), birth(os.getpid()) or ""]
        with writing(self.msrun_log), self.msrun_log.open("wb") as log:
            self.msrun = subprocess.Popen(
                [*tether, *self.plan.launching(guard)],
                env=msrun_environment(self.launch_id, self.scratch),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def msrun_log(self) -> Path:
        """The output of msrun itself."""
        return self.plan.server_folder / LOG

    def watch(self) -> None:
        """Wait until every rank has ended with exit code 0, or a signal has ended them."""
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
        """Read the new lines of all processes."""
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
        """Ranks that have started and not ended."""
        started = [state for state in self.ranks.values() if state.guard is not None and state.exit_code is None]
        return [state for state in started if is_alive(state.guard or 0)]

    def pass_on(self) -> None:
        """Send the signal that has arrived to the workers, and give them time to save."""
        given: set[int] = set()
        begin, saved = time.monotonic(), math.inf
        while True:
            self.look()  # a worker may have started just before the signal, or later
            running = self.running()
            for guard in {state.guard for state in running if state.guard is not None} - given:
                signal_group(guard, self.arrived[0])
                given.add(guard)
            # Before the first step there is nothing to save, and a rank that waits for another hears no signal.
            grace = self.grace if any(state.trained for state in self.ranks.values()) else min(self.grace, _UNTRAINED)
            if not running or time.monotonic() > min(saved, begin + grace) or len(self.arrived) > 1:
                return
            first = self.ranks.get("rank 0")
            if first is not None and first.ended is not None:  # only rank 0 has something to save
                saved = first.ended + _STOP
            time.sleep(_POLL)

    def refuse_failure(self) -> None:
        """Raise with the first process that has failed, if any."""
        if not self.failed():
            return
        until = time.monotonic() + _SETTLE
        while time.monotonic() < until and self.running():
            time.sleep(_POLL / 4)
            self.look()
        first = min(self.failed(), key=lambda state: (state.ended is None, state.ended or 0.0))
        if first.exit_code is None:
            self.fail(first, "has ended without a report", hint="check whether memory ran out: dmesg")
        error = first.error or {}
        said = f": {error['message']}" if error else ""
        self.fail(first, first.ending + said, hint=error.get("hint"), data=error.get("data"))

    def failed(self) -> list[ProcessState]:
        """Processes that have failed."""
        bad = [state for state in self.processes if state.exit_code or self.is_gone(state)]
        if not bad and self.msrun is not None and self.msrun.poll() is not None:
            self.look()  # the last lines of the ranks
            if any(state.exit_code is None for state in self.ranks.values()):
                self.fail_of_msrun()
        return bad

    def is_gone(self, state: ProcessState) -> bool:
        """Whether a process has ended without a report of its guard, as when both are killed."""
        if state.guard is None or state.exit_code is not None or is_alive(state.guard):
            return False
        self.look()
        return state.exit_code is None

    def refuse_stall(self) -> None:
        """Raise if no rank has written a line for too long."""
        silent = time.monotonic() - self.heard
        if silent > self.stall_timeout:
            progress = "; ".join(f"{state.name}: {state.progress}" for state in self.ranks.values())
            message = f"no rank made progress for {silent:.0f} s (--stall-timeout {self.stall_timeout:g}): {progress}"
            hint = f"see the logs in {self.plan.log_dir}; if a step takes that long, pass a longer --stall-timeout"
            raise WorkerError(message, hint=hint, data=self.data())

    def fail(
        self, state: ProcessState, how: str, *, hint: str | None = None, data: Mapping[str, Any] | None = None
    ) -> NoReturn:
        """Raise with the name of a process, how it ended, and the end of its log."""
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
        """End every process of the launch that is left: first with SIGTERM, then by force."""
        try:
            self.ask_to_end()
        finally:
            self.kill()

    def ask_to_end(self) -> None:
        """Give the ranks that are left some time to end by themselves."""
        self.look()
        if self.msrun is not None and self.running():
            # Otherwise msrun would kill the other workers, which are cleaning up, when it sees the first one fail.
            signal_group(self.msrun.pid, signal.SIGSTOP)
            for group in self.guards():
                signal_group(group, signal.SIGTERM)
            until = time.monotonic() + _STOP
            while time.monotonic() < until and self.running():
                time.sleep(_POLL / 4)
                self.look()

    def kill(self) -> None:
        """Kill every process of the launch that is left, and wait until all have ended."""
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
