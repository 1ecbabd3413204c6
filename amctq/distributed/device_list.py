"""Lists of NPUs as users write them: ``0,1,2,3``, ``0-7``, and hccl_tools' half-open ``[0,8)``."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from itertools import islice

from amctq.errors import UsageError

MOST_DEVICES = 64  # of one server: more than any server has, and the ids still fit in a file name
GROUPED_DEVICES = 8  # of an Ascend 910 server
_GROUP = 4
_NUMBER = "([0-9]{1,4})"
_INTERVAL = re.compile(rf"\[\s*{_NUMBER}\s*,\s*{_NUMBER}\s*\)")
_PART = re.compile(rf"\s*{_NUMBER}\s*(?:-\s*{_NUMBER}\s*)?")


def parse_devices(text: str, *, option: str) -> tuple[int, ...]:
    """The numbers in ``text``, in the same order.

    Args:
        text: ``[0,8)`` without 8, ``0-7`` with 7, or numbers and such ranges between commas, ``0-3,8``.
        option: for messages.

    Raises:
        UsageError: it is not such a list, is empty, or has a number twice or one that no server has.
    """
    if interval := _INTERVAL.fullmatch(text.strip()):
        first, end = map(int, interval.groups())
        spans = [range(first, end)]
    else:
        parts = [_PART.fullmatch(part) for part in text.split(",", MOST_DEVICES + 1)[: MOST_DEVICES + 1]]
        found = [part.groups() for part in parts if part]
        if len(found) < len(parts):
            message = f"{option} {text[:60]!r}: expected a list of devices, such as [0,8), 0,1,2,3 or 0-7"
            raise UsageError(message, hint="[0,8) does not include 8, 0-7 includes 7")
        spans = [range(int(first), int(last or first) + 1) for first, last in found]
    if not all(spans):
        message = f"{option} {text[:60]!r}: a range holds no device, expected the lower number first"
        raise UsageError(message, hint="[0,8) does not include 8, 0-7 includes 7")
    # There may be millions. Among one more than a server can have, one is refused: too high, or there twice.
    devices = tuple(islice((device for span in spans for device in span), MOST_DEVICES + 1))
    check_devices(devices, option=option)
    return devices


def check_devices(devices: Sequence[int], *, option: str) -> None:
    """Refuse a list that no server can have.

    Raises:
        UsageError: it is empty, or has a device twice, below 0 or above 63.
    """
    if not devices:
        message = f"{option}: found no device, expected at least one"
        raise UsageError(message, hint="leave it out for all devices")
    wrong = next((device for device in devices if not 0 <= device < MOST_DEVICES), None)
    if wrong is not None:
        message = f"{option}: found device {wrong}, expected 0 to {MOST_DEVICES - 1}"
        raise UsageError(message, hint="these are the devices of one server; tables of several are joined with --merge")
    twice = next((device for device in devices if devices.count(device) > 1), None)
    if twice is not None:
        message = f"{option}: found device {twice} twice, expected each once"
        raise UsageError(message, hint="a device has one rank")


def format_devices(devices: Sequence[int]) -> str:
    """The list as ``parse_devices`` reads it, with ranges: ``0-3,8``."""
    spans: list[list[int]] = []
    for device in devices:
        if spans and device == spans[-1][1] + 1:
            spans[-1][1] = device
        else:
            spans.append([device, device])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def joined_devices(devices: Sequence[int]) -> str:
    """The list for a file name: ``0123`` as hccl_tools writes it, ``0-1-10`` where that would be ambiguous."""
    return ("-" if max(devices) > 9 else "").join(map(str, devices))


def crosses_groups(devices: Collection[int]) -> bool:
    """Whether HCCL refuses these devices on an 8-device Ascend 910 server.

    There 0 to 3 and 4 to 7 are two separate networks, and only all eight devices together may use both. Later servers
    have no such groups.
    """
    return len({device // _GROUP for device in devices}) > 1 and set(devices) != set(range(GROUPED_DEVICES))
