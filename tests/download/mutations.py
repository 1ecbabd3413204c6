"""Damages what a server says, a note or a list, in ways that a seed repeats."""

from __future__ import annotations

import random
from collections.abc import Iterator

# What has broken readers before: digits that are none, numbers beyond every type, halves of characters, escapes.
NASTY = (
    *("²", "٣", "é", "\ud800", "\x00", "\x1b[2J", "\x7f", "\u2028", "\ufeff", " ", "\t", "\r\n", "\n", "\r\n\r\n"),
    *("-1", "0", "1e999", "NaN", "null", "true", "[]", "{}", "[" * 2000, "9" * 5000, str(2**63), str(2**64), "0x10"),
    *("*", ":", ";", ",", "/", "@", "%00", "%", "..", "W/", '"', "bytes", "chunked", "gzip", "x" * 70_000),
)


def mutations(content: bytes, count: int, *, seed: int) -> Iterator[bytes]:
    """``count`` damaged copies of ``content``."""
    chance = random.Random(seed)
    for _ in range(count):
        damaged = bytearray(content)
        for _ in range(chance.choice((1, 1, 1, 2, 5))):
            begin = chance.randrange(len(damaged) + 1)
            end = min(len(damaged), begin + chance.choice((0, 1, 1, 4, 20)))
            byte = bytes([chance.randrange(256)])
            nasty = chance.choice(NASTY).encode(errors="surrogatepass")
            again = bytes(damaged[begin : begin + 40])
            damaged[begin:end] = chance.choice((byte, b"", nasty, nasty, nasty, again))
        yield bytes(damaged)
