"""NO_PROXY: which hosts are asked directly. httpx takes no networks in it, and refuses those of IPv6."""

from __future__ import annotations

import contextlib
import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network


def is_exempt(host: str, port: int, no_proxy: str) -> bool:
    """Whether NO_PROXY says that ``host`` is asked directly.

    An entry is ``*``, an address, a network such as 10.0.0.0/8 or fd00::/8, a pattern such as 10.*, or a domain, which
    stands for the hosts in it too. All but a network may have a port. An entry that is none of these exempts no host.
    """
    host = host.lower().strip("[]").rstrip(".")
    return any(_is_meant(entry, host, port) for entry in _entries(no_proxy))


def unusable(no_proxy: str) -> list[str]:
    """Entries that look like networks, and are none."""
    return [entry for entry in _entries(no_proxy) if "/" in entry and _network(entry) is None]


def _entries(no_proxy: str) -> list[str]:
    entries = (entry.rpartition("://")[2].rstrip("/") for entry in re.split(r"[\s,;]+", no_proxy.lower()))
    return [entry for entry in entries if entry]


def _is_meant(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    address = _address(host)
    if (network := _network(entry)) is not None:
        return address is not None and address in network
    found = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(?::([0-9]{1,5}))?", entry)
    if found is None or (found[2] is not None and int(found[2]) != port):
        return False
    if (own := _address(found[1].strip("[]"))) is not None:
        return own == address
    if "*" in found[1][1:]:  # 192.168.*, as Windows and macOS take it
        return re.fullmatch(re.escape(found[1]).replace(r"\*", ".*"), host) is not None
    domain = found[1].removeprefix("*").strip(".")
    return bool(domain) and (host == domain or host.endswith(f".{domain}"))


def _network(entry: str) -> IPv4Network | IPv6Network | None:
    """The network that an entry names; an address is a network of one."""
    with contextlib.suppress(ValueError):
        return ip_network(re.sub(r"^\[([^\]]*)\](?=/|$)", r"\1", entry), strict=False)
    return None


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """The IP address that a host is; ::ffff:10.0.0.1 is 10.0.0.1."""
    with contextlib.suppress(ValueError):
        address = ip_address(text)
        return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
    return None
