"""Starts processes as msrun does, a scheduler and workers in sessions of their own, without loading MindSpore."""

from __future__ import annotations

import os
import subprocess
import sys
import time


def main() -> int:
    split = sys.argv.index("python3")
    options = dict(argument[2:].split("=", 1) for argument in sys.argv[1:split])
    command = sys.argv[split:]
    if options["node_rank"] == "0":
        subprocess.Popen(command, env={**os.environ, "MS_ROLE": "MS_SCHED", "RANK_ID": "0"})
    local = int(options["local_worker_num"])
    workers = []
    for index in range(local):
        rank = int(options["node_rank"]) * local + index
        environment = {**os.environ, "MS_ROLE": "MS_WORKER", "RANK_ID": str(rank), "DEVICE_ID": str(index)}
        workers.append(subprocess.Popen(command, env=environment, start_new_session=True))
    while any(worker.poll() is None for worker in workers):
        time.sleep(0.05)
        if any(worker.returncode for worker in workers):
            for worker in workers:
                worker.kill()
    time.sleep(60)  # for the scheduler, which waits for workers that have gone without a word
    return 0


if __name__ == "__main__":
    sys.exit(main())
