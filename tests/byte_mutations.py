"""Seeded damage of a file's content, for tests of readers."""

from __future__ import annotations

import random
from collections.abc import Iterator


def byte_mutations(content: bytes, *, seed: int, number: int) -> Iterator[bytes]:
    """Change bits and bytes, cut pieces out, double them, insert others, cut the end off; often in the first bytes."""
    draw = random.Random(seed)
    for _ in range(number):
        changed = bytearray(content)
        for _ in range(draw.choice((1, 1, 2, 5))):
            at = draw.randrange(len(changed)) if draw.random() < 0.5 else draw.randrange(min(len(changed), 120))
            kind = draw.randrange(6)
            if kind == 0:
                changed[at] ^= 1 << draw.randrange(8)
            elif kind == 1:
                changed[at] = draw.choice((0, 1, 0x7F, 0x80, 0xFF))
            elif kind == 2:
                del changed[at : at + draw.randrange(1, 9)]
            elif kind == 3:
                changed[at:at] = draw.randbytes(draw.randrange(1, 9))
            elif kind == 4:
                del changed[max(at, 1) :]
            else:
                changed[at:at] = changed[at : at + draw.randrange(1, 300)]
            if not changed:
                changed += b"\0"
        yield bytes(changed)
