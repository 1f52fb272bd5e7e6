"""ListTransactions (66), versions 0-2.

Behavior:
- The transactional ids of this broker that pass every filter that is given: states by name, producer ids, how long a
  transaction runs, a pattern. States nobody knows are said.
- COORDINATOR_LOAD_IN_PROGRESS while any shard loads.

Version notes:
- v1 adds the duration (KIP-994), v2 the pattern (KIP-1152), which has to match the whole id; what is none is
  INVALID_REGULAR_EXPRESSION. Kafka takes Java's syntax, here it is RE2's, whose matching takes time linear in the id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.errors import ErrorCode, RequestError

if TYPE_CHECKING:
    from ottla.messages import ListTransactionsRequest
    from ottla.protocol.services import Services
    from ottla.types import Answer, RequestContext


def handle(_context: RequestContext, request: ListTransactionsRequest, services: Services, answer: Answer) -> None:
    """Answer with what passes."""

    def matching(pattern: str, names: list[str]) -> list[str]:
        reason = services.patterns.check(pattern)
        if reason is not None:
            words = f"Transaction ID pattern {pattern!r} is not a valid regular expression: {reason}."
            raise RequestError(ErrorCode.INVALID_REGULAR_EXPRESSION, words)
        return services.patterns.match([pattern], names)[0]

    services.transactions.list_transactions(request, matching, answer)
