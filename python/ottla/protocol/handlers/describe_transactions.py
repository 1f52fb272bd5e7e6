"""DescribeTransactions (65), version 0.

Behavior:
- Each id with its state, its producer and the partitions that take part; while the transaction ends, those that have
  no marker yet. TRANSACTIONAL_ID_NOT_FOUND if there is none, INVALID_REQUEST for an empty one, NOT_COORDINATOR and
  COORDINATOR_LOAD_IN_PROGRESS as its shard says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.messages import DescribeTransactionsResponse, DescribeTransactionsResponseTransactionState

if TYPE_CHECKING:
    from ottla.errors import ErrorCode
    from ottla.messages import DescribeTransactionsRequest
    from ottla.protocol.services import Services
    from ottla.types import Answer, RequestContext


def handle(_context: RequestContext, request: DescribeTransactionsRequest, services: Services, answer: Answer) -> None:
    """Answer in the order asked for."""
    services.transactions.describe_transactions(request.transactional_ids, answer)


def refuse(
    _context: RequestContext, request: DescribeTransactionsRequest, code: ErrorCode
) -> DescribeTransactionsResponse:
    """Answer each id with the code."""
    return DescribeTransactionsResponse(
        transaction_states=[
            DescribeTransactionsResponseTransactionState(error_code=code, transactional_id=transactional_id)
            for transactional_id in request.transactional_ids
        ]
    )
