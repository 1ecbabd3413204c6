"""What the page says, in the language of its reader. Messages of a run stay as the run wrote them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from amctq.choices import Language


class Words:
    """Looks up texts by key.

    Args:
        language: of the page.
    """

    def __init__(self, language: Language) -> None:
        self.language = language

    def __call__(self, key: str, **values: str) -> str:
        """The text under a key, with values in its places."""
        english, chinese = _texts()[key]
        return (chinese if self.language is Language.ZH else english).format(**values)

    def or_own(self, prefix: str, name: str) -> str:
        """The text under a key that a report made, such as the name of a phase; the name itself where there is none."""
        key = f"{prefix}.{name}"
        return self(key) if key in _texts() else name


@cache
def _texts() -> Mapping[str, tuple[str, str]]:
    content = files("amctq.report_page").joinpath("words.json").read_text(encoding="utf-8")
    return {key: (english, chinese) for key, (english, chinese) in json.loads(content).items()}
