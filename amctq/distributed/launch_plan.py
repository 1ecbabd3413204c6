"""The plan of a launch: every rank with its server, device, cores and environment, and where they meet."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from amctq.distributed.rank_table import RankTable

SCHEDULER = "scheduler"
STATUS, LOG, ENVIRONMENT_LOG = "status.jsonl", "log", "env.log"
# MindSpore's CPU collectives fail when a rank is 30 s late, but the others must wait for longer while rank 0 evaluates
# and exports. The supervisor decides when a wait is too long.
COLLECTIVE_TIMEOUT = ("MS_CPU_COMM_OP_TIMEOUT", str(7 * 24 * 3600))


@dataclass(frozen=True, kw_only=True)
class RankPlan:
    """One rank.

    Attributes:
        rank: from 0, over all servers.
        node: number of its server, from 0.
        local: its number among the ranks of its server, which msrun exports as DEVICE_ID.
        server: address or name of its server.
        device_id: physical number of its NPU; None on a CPU.
        cores: CPU cores that it runs on; empty for any.
        environment: variables that the launcher adds to those of msrun.
    """

    rank: int
    node: int
    local: int
    server: str
    device_id: int | None
    cores: tuple[int, ...]
    environment: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class LaunchPlan:
    """A launch on one server of one or more.

    Attributes:
        ranks: of all servers, in order.
        node: number of this server.
        nodes: how many servers there are.
        master_addr: where the scheduler listens, on server 0.
        master_port: its port.
        cluster_timeout: seconds within which all ranks must join the cluster.
        log_dir: output of the processes, in ``train_parallel0`` and so on.
        command: the command of a worker; its last argument will be the launch file, its rank is RANK_ID.
        launcher: a command with msrun's options that starts the processes as msrun does.
        scheduler: the command of MindSpore's scheduler, which forms the cluster; it runs on server 0.
        table: the rank table; None without one.
    """

    ranks: tuple[RankPlan, ...]
    node: int
    nodes: int
    master_addr: str
    master_port: int
    cluster_timeout: int
    log_dir: Path
    command: tuple[str, ...]
    launcher: tuple[str, ...] = (sys.executable, "-m", "mindspore.parallel.cluster.run")
    scheduler: tuple[str, ...] = (sys.executable, "-c", "from mindspore.communication import init; init()")
    table: RankTable | None = None

    @property
    def local_ranks(self) -> tuple[RankPlan, ...]:
        """The ranks on this server."""
        return tuple(rank for rank in self.ranks if rank.node == self.node)

    @property
    def has_scheduler(self) -> bool:
        """Whether MindSpore's scheduler runs on this server."""
        return self.node == 0

    def folder(self, rank: int) -> Path:
        """The output of a rank, as in the sample: ``log`` and ``env.log``, and its status."""
        return self.log_dir / f"train_parallel{rank}"

    @property
    def server_folder(self) -> Path:
        """The output of msrun on this server, and the launch file; servers may share ``log_dir``."""
        return self.log_dir / f"server{self.node}"

    @property
    def launch_file(self) -> Path:
        """The file that guards and workers read."""
        return self.server_folder / "launch.json"

    @property
    def scheduler_folder(self) -> Path:
        """The output of MindSpore's scheduler."""
        return self.log_dir / SCHEDULER

    def environment(self, rank: RankPlan) -> dict[str, str]:
        """The variables that a launch gives to a worker: those of msrun, and those of the plan."""
        return {
            "MS_ROLE": "MS_WORKER",
            "MS_WORKER_NUM": str(len(self.ranks)),
            "MS_SCHED_HOST": self.master_addr,
            "MS_SCHED_PORT": str(self.master_port),
            "MS_TOPO_TIMEOUT": str(self.cluster_timeout),
            "MS_NODE_ID": str(rank.rank),
            "RANK_ID": str(rank.rank),
            "RANK_SIZE": str(len(self.ranks)),
            "DEVICE_ID": str(rank.local),
            **rank.environment,
        }

    def launching(self, guard: Sequence[str]) -> list[str]:
        """The command line of the launcher, by default MindSpore's own.

        Args:
            guard: arguments of ``python3``, which msrun runs for each rank and for the scheduler.
        """
        return [
            *self.launcher,
            f"--worker_num={len(self.ranks)}",
            f"--local_worker_num={len(self.local_ranks)}",
            f"--master_addr={self.master_addr}",
            f"--master_port={self.master_port}",
            f"--node_rank={self.node}",
            f"--log_dir={self.server_folder}",
            f"--cluster_time_out={self.cluster_timeout}",
            f"--tail_worker_log={len(self.ranks)}",  # of no rank: msrun would run a tail(1) for each
            "--join=True",  # without it msrun ends at once, and the workers lose their parent
            *("python3", *guard),  # msrun accepts only this name, and finds it on PATH
        ]


def share_cores(cores: Sequence[int], workers: int) -> list[tuple[int, ...]]:
    """The cores of a server, divided among its workers; none if there are more workers than cores."""
    each = len(cores) // workers
    return [tuple(cores[index * each : (index + 1) * each]) for index in range(workers)]
