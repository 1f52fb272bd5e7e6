"""The rows of many partitions, from the raw results."""

from __future__ import annotations

from typing import Any

from benches.many_partitions import FIGURES
from benches.report_rows import row


def rows(result: dict[str, Any]) -> list[str]:
    """Beside another broker; none if the result is of another workload."""
    if result["workload"] != "partitions":
        return []
    many = f"{result['topics']:,} topics x {result['partitions']}"
    return [row(f"{many}: {title}", result[figure], "{:,.1f}".format) for figure, title in FIGURES.items()]
