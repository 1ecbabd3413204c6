"""The request of ``amctq doctor``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from amctq.choices import Requirement
from amctq.services.option import RUN, Option, Request


@dataclass(frozen=True, kw_only=True)
class DoctorRequest(Request):
    """The request of ``amctq doctor``."""

    require: Annotated[tuple[Requirement, ...], Option(RUN, "Fail (exit 4) when this is missing; repeatable.")] = ()
