"""The version of amctq. The package, the build and the code all read it here."""

from __future__ import annotations

__version__ = "0.1.0"
