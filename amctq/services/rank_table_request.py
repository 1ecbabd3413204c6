"""The request of ``amctq rank-table``, and the checks that its options do not contradict each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from amctq.distributed.device_list import check_devices, parse_devices
from amctq.distributed.rank_table import parse_address
from amctq.distributed.rank_table_json import check_name
from amctq.errors import UsageError
from amctq.services.option import INPUT, OUTPUT, RUN, Option, Request
from amctq.services.request import FORCE, OUTPUT_DIR

_LIST = "[0,8)|0-7|0,1,…"


@dataclass(frozen=True, kw_only=True)
class RankTableRequest(Request):
    """The request of ``amctq rank-table``. Each field is the option of the same name; the option's help explains it.

    Attributes:
        devices: physical numbers, or indices from 0 into ``visible_devices``.
        visible_devices: None means that ``devices`` are physical numbers.
        group_check: refuse devices from both groups of four of an 8-device server.
        merge: join these rank tables in this order, instead of creating one.
        output: file name in ``output_dir``, or a path with its own folder.

    Raises:
        UsageError: a value is out of its range, or two options contradict each other.
    """

    devices: Annotated[
        Sequence[int] | None,
        Option(
            INPUT,
            "NPUs to use, in rank order. [0,8) does not include 8.  [default: all]",
            metavar=_LIST,
            aliases=("device_num",),
            read=partial(parse_devices, option="--devices"),
        ),
    ] = None
    visible_devices: Annotated[
        Sequence[int] | None,
        Option(
            INPUT,
            "Physical numbers of the available NPUs. --devices then counts these from 0.",
            metavar=_LIST,
            read=partial(parse_devices, option="--visible-devices"),
        ),
    ] = None
    server_ip: Annotated[
        str | None, Option(INPUT, "Address of this server.  [default: that of its host name]", metavar="ADDRESS")
    ] = None
    hccn_conf: Annotated[
        Path | None,
        Option(
            INPUT,
            "File with the addresses of the NPUs.  [default: hccn_tool if it is on PATH, else /etc/hccn.conf]",
            metavar="FILE",
        ),
    ] = None
    merge: Sequence[Path] | None = None
    check: Annotated[Path | None, Option(RUN, "Check a rank table and show it. Write nothing.", metavar="FILE")] = None
    group_check: Annotated[
        bool, Option(RUN, "Allow devices from both groups of four on an 8-device server. Atlas A2 has no such groups.")
    ] = True
    output: Annotated[
        Path | None,
        Option(
            OUTPUT,
            "Name of the file.  [default: hccl_<n>p_<devices>_<server ip>.json; merged hccl_<servers>s_<n>p.json]",
            metavar="FILE",
        ),
    ] = None
    output_dir: Annotated[Path, OUTPUT_DIR] = Path()
    force: Annotated[bool, FORCE] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        other = "--check" if self.check is not None else "--merge" if self.merge is not None else None
        given = {
            "--merge": self.check is not None and self.merge is not None,
            "--devices": self.devices is not None,
            "--visible-devices": self.visible_devices is not None,
            "--server-ip": self.server_ip is not None,
            "--hccn-conf": self.hccn_conf is not None,
            "--output": self.check is not None and self.output is not None,
        }
        if other is not None and any(given.values()):
            message = f"{other} and {', '.join(option for option, here in given.items() if here)} contradict each other"
            raise UsageError(message, hint="a run creates a table, joins some with --merge, or checks one with --check")
        if self.merge is not None and not self.merge:
            message = "--merge: found no file, expected the rank tables of the servers, in order"
            raise UsageError(message, hint="as in: amctq rank-table --merge server0.json server1.json")
        for option, numbers in (("--devices", self.devices), ("--visible-devices", self.visible_devices)):
            if numbers is not None:
                check_devices(numbers, option=option)
        if self.devices is not None and self.visible_devices is not None:
            count = len(self.visible_devices)
            if (most := max(self.devices)) >= count:
                message = f"--devices: found {most}, expected 0 to {count - 1}, since --visible-devices has {count}"
                raise UsageError(message, hint="with --visible-devices, --devices counts its entries from 0")
        if self.server_ip is not None and parse_address(self.server_ip) is None:
            message = f"--server-ip {self.server_ip!r}: expected an IPv4 or IPv6 address"
            raise UsageError(message, hint="give the address that other servers use to connect to this one")
        if self.output is not None:
            check_name(self.output)

    def path(self, default: str) -> Path:
        """Path of the output file."""
        return self.output_dir / (self.output or default)
