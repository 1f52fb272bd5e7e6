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

from msgspec.structs import replace

from ottla.errors import ErrorCode, RequestError
from ottla.messages import ListTransactionsResponse

if TYPE_CHECKING:
    from msgspec import Struct

    from ottla.messages import ListTransactionsRequest
    from ottla.protocol.services import Services
    from ottla.types import Answer, RequestContext


def handle(_context: RequestContext, request: ListTransactionsRequest, services: Services, answer: Answer) -> None:
    """Answer with what passes; ids are matched last, and elsewhere."""
    pattern = request.transactional_id_pattern
    if not pattern:
        services.transactions.list_transactions(request, answer)
        return

    def match(response: Struct) -> None:
        assert isinstance(response, ListTransactionsResponse)
        if response.error_code != ErrorCode.NONE:
            answer(response)
            return
        reason = services.patterns.check(pattern)
        if reason is not None:
            words = f"Transaction ID pattern {pattern!r} is not a valid regular expression: {reason}."
            raise RequestError(ErrorCode.INVALID_REGULAR_EXPRESSION, words)
        names = [each.transactional_id for each in response.transaction_states]

        def finish(matched: list[list[str]] | Exception) -> None:
            if isinstance(matched, Exception):
                code = matched.code if isinstance(matched, RequestError) else ErrorCode.UNKNOWN_SERVER_ERROR
                answer(ListTransactionsResponse(error_code=code))
                return
            passing = frozenset(matched[0])
            response.transaction_states = [
                each for each in response.transaction_states if each.transactional_id in passing
            ]
            answer(response)

        services.elsewhere(lambda: services.patterns.match([pattern], names), finish)

    services.transactions.list_transactions(replace(request, transactional_id_pattern=None), match)
