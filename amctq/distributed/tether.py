"""``python -m amctq.distributed.tether PID BIRTH COMMAND …``: a command that ends with the process that started it."""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

from amctq.distributed.processes import birth, die_with_parent


def main() -> NoReturn:
    """Become the command."""
    die_with_parent()
    if birth(int(sys.argv[1])) != sys.argv[2]:
        sys.exit(1)  # the parent ended before die_with_parent took effect
    signal.pthread_sigmask(signal.SIG_SETMASK, [])  # amctq blocks signals, and a child inherits that
    os.execvp(sys.argv[3], sys.argv[3:])


if __name__ == "__main__":
    main()
