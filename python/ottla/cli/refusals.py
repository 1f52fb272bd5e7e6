"""What a broker refused, item by item."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from ottla.errors import OttlaError, RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

T = TypeVar("T")


class Refusals(OttlaError):
    """Some items of a request were refused; `items` has what each was and why."""

    def __init__(self, items: Sequence[tuple[str, RequestError]]) -> None:
        self.items = tuple(items)
        super().__init__("; ".join(f"{what}: {error}" for what, error in self.items))


def accepted(kind: str, outcomes: Mapping[str, T | RequestError]) -> dict[str, T]:
    """Give the results of all items; raises `Refusals` with those that have none."""
    refused = [(f"{kind} {item}", error) for item, error in outcomes.items() if isinstance(error, RequestError)]
    if refused:
        raise Refusals(refused)
    return {item: result for item, result in outcomes.items() if not isinstance(result, RequestError)}
