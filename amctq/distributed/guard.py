"""What msrun runs in a worker's place: starts the worker, and tells how it ended, whatever ended it.

    python3 -m amctq.distributed.guard LAUNCH_FILE

msrun can neither give a rank an environment or cores of its own nor say which rank failed first; a worker that dies of
a signal cannot say so itself. A guard can. It loads no framework, and takes 10 MB.

A worker that fails leaves its guard waiting to be stopped: msrun would kill all other workers as soon as it saw one end
badly, in the midst of what they say and clear away.
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

from amctq.distributed.launch_plan import ENVIRONMENT_LOG, LOG, SCHEDULER, STATUS
from amctq.distributed.processes import birth, die_with_parent
from amctq.distributed.status import StatusWriter

_HEARD = {signal.SIGCHLD, signal.SIGINT, signal.SIGTERM}
_SECONDS = 1.0  # between two looks at the parent


def main() -> int:
    """Run one process of the launch; returns what msrun shall take for its exit code."""
    signal.pthread_sigmask(signal.SIG_SETMASK, _HEARD)  # waited for below; the worker has them unblocked
    die_with_parent()
    parent = os.getppid()
    launch = json.loads(Path(sys.argv[1]).read_bytes())
    if birth(launch["supervisor"]["pid"]) != launch["supervisor"]["birth"]:
        return 1  # it ended before the kernel knew that this process is to end with its parent
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
    shown = "".join(f"{name}={value}\n" for name, value in sorted(environment.items()))
    (folder / ENVIRONMENT_LOG).write_bytes(shown.encode(errors="surrogateescape"))
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
