"""Addresses of the NPUs' NICs, from the driver's ``hccn_tool`` or from its file ``hccn.conf``."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from amctq.distributed.device_list import format_devices
from amctq.distributed.rank_table import parse_address
from amctq.errors import InputError, first_line
from amctq.input_file import read_input, text_of
from amctq.runtime import npu_numbers

HCCN_CONF = Path("/etc/hccn.conf")
_TOOL = "hccn_tool"
_SECONDS = 30
_PROBED = 16  # no server has more NPUs with NICs
_MOST_BYTES = 1 << 20
_LINE = re.compile(r"address_([0-9]{1,4})\s*=(.*)")


class AddressSource(Protocol):
    """A source of the NPUs of this server and their addresses."""

    @property
    def name(self) -> str:
        """Its name, for messages."""

    def devices(self) -> tuple[int, ...]:
        """Physical numbers of the NPUs, ascending.

        Raises:
            InputError: there is none.
        """

    def address(self, device_id: int) -> str:
        """Address of an NPU's NIC, IPv4 or IPv6.

        Raises:
            InputError: it has none, or the text found is not an address.
        """


def find_source(conf: Path | None) -> AddressSource:
    """The file ``conf``; if it is None, hccn_tool if it is on PATH, else /etc/hccn.conf.

    Raises:
        InputError: there is none of these.
    """
    if conf is not None:
        return HccnConf(conf)
    if tool := shutil.which(_TOOL):
        return HccnTool(Path(tool))
    if not HCCN_CONF.exists():
        message = f"no source of the addresses of NPUs: {_TOOL} is not on PATH, and there is no {HCCN_CONF}"
        hint = f"run it on the server with the NPUs, put the driver's {_TOOL} on PATH, or pass --hccn-conf"
        raise InputError(message, hint=hint)
    return HccnConf(HCCN_CONF)


class HccnConf:
    """hccn.conf, where each line ``address_0=192.168.100.101`` is the address of one NPU's NIC.

    Raises:
        InputError: it cannot be read, or gives an NPU two addresses.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._addresses = _read_conf(path)

    def devices(self) -> tuple[int, ...]:
        """NPUs that have a line."""
        if not self._addresses:
            message = f"{self.name}: found no line as in address_0=192.168.100.101, expected one for each NPU"
            raise InputError(message, hint=_set(0))
        return tuple(sorted(self._addresses))

    def address(self, device_id: int) -> str:
        """The address in the NPU's line."""
        if device_id not in self._addresses:
            message = f"{self.name}: no address_{device_id}; found device {format_devices(self.devices())}"
            raise InputError(message, hint=f"choose other devices, or {_set(device_id)}")
        return _checked(self._addresses[device_id], f"{self.name}: address_{device_id}", device_id)


class HccnTool:
    """The driver's ``hccn_tool -i N -ip -g``, which prints ``ipaddr:192.168.100.101`` and more lines."""

    def __init__(self, path: Path) -> None:
        self.name = _TOOL
        self._path = path
        self._answers: dict[int, str] = {}

    def devices(self) -> tuple[int, ...]:
        """The NPUs in /dev; if there are none, as in some containers, those that the tool knows."""
        if shown := npu_numbers():
            return shown
        known = tuple(filter(self._knows, range(_PROBED)))
        if not known:
            self.address(0)  # raises, with the reason
        return known

    def address(self, device_id: int) -> str:
        """The address that the tool prints."""
        if device_id not in self._answers:
            self._answers[device_id] = self._ask(device_id)
        return self._answers[device_id]

    def _knows(self, device_id: int) -> bool:
        try:
            self.address(device_id)
        except InputError:
            return False
        return True

    def _ask(self, device_id: int) -> str:
        command = [str(self._path), "-i", str(device_id), "-ip", "-g"]
        shown = f"{_TOOL} {' '.join(command[1:])}"
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            message = f"{shown}: no answer within {_SECONDS} s, expected an address"
            raise InputError(message, hint="run npu-smi info to check the NPU, or pass --hccn-conf") from None
        except OSError as error:
            message = f"cannot run {self._path}: {error.strerror}"
            raise InputError(message, hint=f"put the driver's {_TOOL} on PATH, or pass --hccn-conf") from error
        pairs = [line.partition(":") for line in done.stdout.splitlines()]
        found = [value.strip() for key, _, value in pairs if key.strip().lower() == "ipaddr"]
        if done.returncode or not found:
            said = first_line(ValueError(f"{done.stdout}\n{done.stderr}".strip() or f"exit code {done.returncode}"))
            message = f"{shown}: found {said!r}, expected a line ipaddr:ADDRESS"
            raise InputError(message, hint=f"{_set(device_id)}, or pass --hccn-conf")
        return _checked(found[0], shown, device_id)


def _read_conf(path: Path) -> Mapping[int, str]:
    content = read_input(path, what="list of NICs", option="--hccn-conf")
    text = text_of(content, str(path), errors="replace")  # a comment of the administrator may be in any encoding
    addresses: dict[int, str] = {}
    for line in text.split("\n"):
        if match := _LINE.fullmatch(line.strip()):
            device, text = int(match[1]), match[2].strip()
            if addresses.setdefault(device, text) != text:
                message = f"{path}: address_{device}: found {addresses[device]!r} and {text!r}, expected one address"
                raise InputError(message, hint="remove the wrong line")
    return addresses


def _checked(text: str, where: str, device_id: int) -> str:
    if parse_address(text) is None:
        message = f"{where}: found {text!r}, expected an IPv4 or IPv6 address"
        raise InputError(message, hint=_set(device_id))
    return text


def _set(device_id: int) -> str:
    return f"set one with {_TOOL} -i {device_id} -ip -s address ADDRESS netmask MASK"
