"""msrun starts a guard instead of a worker; the guard starts the worker, and reports how it ended.

    python3 -m amctq.distributed.guard LAUNCH_FILE

msrun cannot give a rank its own environment or cores, and does not say which rank failed first. A worker that is killed
by a signal cannot report it. A guard can do all this. It loads no framework, and takes 10 MB.

When a worker fails, its guard does not end but waits to be stopped. Otherwise msrun would kill all other workers at
once, while they are still reporting and cleaning up.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from amctq.distributed.environment import shown
from amctq.distributed.launch_plan import ENVIRONMENT_LOG, LOG, SCHEDULER, STATUS
from amctq.distributed.processes import birth, die_with_parent
from amctq.distributed.status import StatusWriter

_HEARD = {signal.SIGCHLD, signal.SIGINT, signal.SIGTERM}
_SECONDS = 1.0  # between two checks of the parent


def main() -> int:
    """Run one process of the launch; returns the exit code for msrun."""
    signal.pthread_sigmask(signal.SIG_SETMASK, _HEARD)  # they are waited for below; the worker has them unblocked
    die_with_parent()
    parent = os.getppid()
    launch = json.loads(Path(sys.argv[1]).read_bytes())
    if birth(launch["supervisor"]["pid"]) != launch["supervisor"]["birth"]:
        return 1  # the supervisor ended before die_with_parent took effect
    name = SCHEDULER if os.environ.get("MS_ROLE") == "MS_SCHED" else os.environ["RANK_ID"]
    own = launch["processes"][name]
    folder = Path(own["folder"])
    status = StatusWriter(folder / STATUS)
    worker = _start(own, folder)
    status.tell("start", guard=os.getpid(), pid=worker.pid, time=time.monotonic())
    while worker.poll() is None:
        signal.sigtimedwait(_HEARD, _SECONDS)
        if os.getppid() != parent:
            os.killpg(0, signal.SIGKILL)
    status.tell("end", exit_code=worker.returncode, time=time.monotonic())
    while worker.returncode and os.getppid() == parent:
        if signal.sigtimedwait({signal.SIGTERM}, _SECONDS):
            break
    return int(worker.returncode != 0)


def _start(own: dict[str, Any], folder: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | own["environment"]
    log_text = shown(environment, own["environment"])
    (folder / ENVIRONMENT_LOG).write_bytes(log_text.encode(errors="surrogateescape"))
    if own["cores"]:
        os.sched_setaffinity(0, own["cores"])

    def tie() -> None:
        die_with_parent()
        signal.pthread_sigmask(signal.SIG_SETMASK, [])

    with (folder / LOG).open("ab") as log:
        return subprocess.Popen(
            own["command"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=tie,  # this process has one thread
        )


if __name__ == "__main__":
    sys.exit(main())
