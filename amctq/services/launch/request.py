"""The request of ``amctq launch-distributed``, and the checks that its options do not contradict each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from amctq.distributed.rank_table import MOST_RANKS
from amctq.errors import UsageError
from amctq.services.option import INPUT, OUTPUT, RUN, Limit, Option, Request
from amctq.services.qat.request import QatRequest
from amctq.services.spelling import port_or_auto, words

if TYPE_CHECKING:
    from amctq.distributed.rank_table import RankTable

LOG_DIR = "logs"
_PORTS = range(1024, 65536)
_MOST_WORKERS = 1024  # of one server: more than any has cores or NPUs for
_WEEK = 7 * 24 * 3600


@dataclass(frozen=True, kw_only=True)
class LaunchRequest(Request):
    """The request of ``amctq launch-distributed``. Each field is the option of the same name; see its help.

    Attributes:
        qat: the request that the workers run; its batch size is that of each worker.
        workers: None means one worker for each device of the rank table.
        rank_table: None means devices 0, 1, … of each server.
        nodes: None means the servers of the rank table or of ``hosts``, else 1.
        node_rank: number of this server, from 0; None finds it by the addresses.
        master_addr: None means the first server of the rank table or of ``hosts``.
        master_port: port of MindSpore's scheduler; None means a free port, or 8118 with several servers.
        grace: seconds that workers have for saving a checkpoint when the run is stopped.
        step_digests: every worker reports a digest of its arrays after each step, to prove that all are equal.

    Raises:
        UsageError: a value is out of its range, or two options contradict each other.
    """

    qat: QatRequest
    rank_table: Annotated[
        Path | None,
        Option(
            INPUT, "Start one worker for each device of this rank table.", metavar="FILE", aliases=("rank_table_file",)
        ),
    ] = None
    workers: Annotated[
        int | None,
        Option(
            RUN,
            "Number of workers on all servers together, instead of a rank table.",
            min=1,
            max=MOST_RANKS,
            metavar="N",
            aliases=("device_num",),
        ),
    ] = None
    hosts: Annotated[
        tuple[str, ...],
        Option(
            RUN, "Addresses of the servers, in order. Run the command on each server.", metavar="ADDRESS,…", read=words
        ),
    ] = ()
    nodes: Annotated[int | None, Option(RUN, "Number of servers, instead of --hosts.", min=1, metavar="M")] = None
    node_rank: Annotated[
        int | None, Option(RUN, "Number of this server, from 0.  [default: found by its addresses]", min=0, metavar="R")
    ] = None
    master_addr: Annotated[
        str | None, Option(RUN, "Address of server 0 that the other servers can reach.", metavar="ADDRESS")
    ] = None
    master_port: Annotated[
        int | None,
        Option(
            RUN,
            "Port on server 0. auto is a free port, or 8118 with several servers.",
            metavar="auto|PORT",
            read=port_or_auto,
            default="auto",
            limits=(Limit(expected=f"{_PORTS.start} to {_PORTS.stop - 1}", holds=_PORTS.__contains__),),
        ),
    ] = None
    timeout: Annotated[
        int, Option(RUN, "How long to wait until all workers are connected.", min=1, max=_WEEK, metavar="SECONDS")
    ] = 600
    stall_timeout: Annotated[
        float,
        Option(
            RUN,
            "Give up after this time without news from any worker.",
            metavar="SECONDS",
            limits=(Limit(expected="seconds, more than 0", holds=lambda seconds: seconds > 0),),
        ),
    ] = 900.0
    grace: float = 60.0
    step_digests: Annotated[bool, Option(RUN, hidden=True)] = False
    log_dir: Annotated[
        Path | None, Option(OUTPUT, "Folder for the workers' logs.  [default: OUTPUT_DIR/logs]", metavar="DIR")
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
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
            raise UsageError(message, hint="--workers is the total of all servers; each runs the same number")
        if self.workers is not None and self.workers // nodes > _MOST_WORKERS:
            message = f"--workers {self.workers} on {nodes} server(s): expected at most {_MOST_WORKERS} on each"
            raise UsageError(message, hint="start fewer, or name all servers with --hosts")
        if self.node_rank is not None and self.node_rank >= nodes:
            message = f"--node-rank {self.node_rank}: expected 0 to {nodes - 1}, as there are {nodes} servers"
            raise UsageError(message, hint="give --nodes, the number of servers")
        if nodes > 1 and not self.hosts and (self.node_rank is None or self.master_addr is None):
            message = f"--nodes {nodes} without --node-rank and --master-addr"
            raise UsageError(message, hint="say which server this is, and the address of server 0; or give --hosts")

    def read_table(self) -> RankTable | None:
        """Read the rank table; None without one.

        Raises:
            InputError: the rank table is missing or not valid.
        """
        from amctq.distributed.rank_table_json import read_rank_table

        return None if self.rank_table is None else read_rank_table(self.rank_table)

    @property
    def logs(self) -> Path:
        """The folder of the workers' logs."""
        return self.log_dir or self.qat.output_dir / LOG_DIR
