"""A bar in a cell of a table, beside its number."""

from __future__ import annotations

from amctq.report_page.markup import Markup, element


def bar(value: float, largest: float) -> Markup:
    """A bar as long as the share of ``value`` in ``largest``; the number itself stands in another cell."""
    share = 0.0 if largest <= 0 else max(0.0, min(1.0, value / largest))
    return element(
        "svg",
        element("rect", class_="back", width=100, height=10),
        element("rect", class_="bar", width=100 * share, height=10),
        class_="cell",
        viewBox="0 0 100 10",
        preserveAspectRatio="none",
        aria_hidden="true",
    )
