"""What ``amctq launch-distributed`` is asked for, and what its options say against each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from amctq.distributed.rank_table import RankTable
from amctq.distributed.rank_table_json import read_rank_table
from amctq.errors import UsageError
from amctq.services.qat.request import QatRequest
from amctq.services.request import refuse_below

LOG_DIR = "logs"
_PORTS = range(1024, 65536)


@dataclass(frozen=True, kw_only=True)
class LaunchRequest:
    """What ``amctq launch-distributed`` shall do; fields carry the names of the options.

    Attributes:
        qat: what the ranks train; its batch size is that of each.
        workers: how many ranks, over all servers; None for one on each device of the rank table.
        rank_table: the servers and their devices; None for devices 0, 1, … of each server.
        hosts: addresses of the servers, in order; instead of ``nodes`` and ``master_addr``.
        nodes: how many servers; None for those of the rank table or of ``hosts``, else 1.
        node_rank: which of them this is, from 0; None to tell by its addresses.
        master_addr: address of server 0 that the others reach; None for what rank table or ``hosts`` say.
        master_port: where MindSpore's scheduler listens there; None for a free one, on several servers 8118.
        timeout: seconds, until which all ranks must have come together.
        stall_timeout: seconds without news from any rank, after which the run is given up.
        grace: seconds that ranks have to save when the run is stopped.
        log_dir: where processes write their logs; None for ``logs`` in the output directory.
        step_digests: have every rank tell after every step what it holds, a proof that all hold the same.
    """

    qat: QatRequest
    workers: int | None = None
    rank_table: Path | None = None
    hosts: tuple[str, ...] = ()
    nodes: int | None = None
    node_rank: int | None = None
    master_addr: str | None = None
    master_port: int | None = None
    timeout: int = 600
    stall_timeout: float = 900.0
    grace: float = 60.0
    log_dir: Path | None = None
    step_digests: bool = False

    def __post_init__(self) -> None:
        refuse_below("--workers", self.workers, 1)
        refuse_below("--nodes", self.nodes, 1)
        refuse_below("--node-rank", self.node_rank, 0)
        refuse_below("--timeout", self.timeout, 1)
        if self.stall_timeout <= 0:
            message = f"--stall-timeout {self.stall_timeout:g}: expected seconds, more than 0"
            raise UsageError(message)
        if self.master_port is not None and self.master_port not in _PORTS:
            message = f"--master-port {self.master_port}: expected {_PORTS.start} to {_PORTS.stop - 1}"
            raise UsageError(message)
        if self.workers is None and self.rank_table is None:
            message = "neither --workers nor --rank-table says how many workers to start"
            raise UsageError(message, hint="give --workers N, or a rank table: amctq rank-table")
        if self.qat.device_id is not None:
            message = f"--device-id {self.qat.device_id}: a distributed run has a device for each worker"
            raise UsageError(message, hint="choose devices with --rank-table, or leave the option out")
        for one, other, both in (
            ("--workers", "--rank-table", self.workers is not None and self.rank_table is not None),
            ("--hosts", "--nodes", bool(self.hosts) and self.nodes is not None),
            ("--hosts", "--rank-table", bool(self.hosts) and self.rank_table is not None),
            ("--hosts", "--master-addr", bool(self.hosts) and self.master_addr is not None),
            ("--nodes", "--rank-table", self.nodes is not None and self.rank_table is not None),
        ):
            if both:
                message = f"{one} and {other} contradict each other"
                raise UsageError(message, hint="leave one of the two out")
        self._refuse_servers()

    def _refuse_servers(self) -> None:
        if len(set(self.hosts)) < len(self.hosts):
            message = f"--hosts {','.join(self.hosts)}: expected each server once"
            raise UsageError(message)
        nodes = self.nodes or len(self.hosts) or 1
        if self.rank_table is not None:
            return
        if self.workers is not None and self.workers % nodes:
            message = f"--workers {self.workers}: expected a multiple of the {nodes} servers"
            raise UsageError(message, hint="--workers counts those of all servers, and each runs as many")
        if self.node_rank is not None and self.node_rank >= nodes:
            message = f"--node-rank {self.node_rank}: expected 0 to {nodes - 1}, as there are {nodes} servers"
            raise UsageError(message, hint="give --nodes, the number of servers")
        if nodes > 1 and not self.hosts and (self.node_rank is None or self.master_addr is None):
            message = f"--nodes {nodes} without --node-rank and --master-addr"
            raise UsageError(message, hint="say which server this is, and the address of server 0; or give --hosts")

    def read_table(self) -> RankTable | None:
        """The rank table; None without one.

        Raises:
            InputError: it is not what it must be.
        """
        return None if self.rank_table is None else read_rank_table(self.rank_table)

    @property
    def logs(self) -> Path:
        """Where the processes write their logs."""
        return self.log_dir or self.qat.output_dir / LOG_DIR
