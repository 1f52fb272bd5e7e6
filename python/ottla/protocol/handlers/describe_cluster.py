"""DescribeCluster (60), versions 0-2.

Behavior:
- Cluster id, controller, and the brokers with the addresses of the listener the request came through. A broker without
  that listener is left out.
- This is a broker: a request that wants controllers gets MISMATCHED_ENDPOINT_TYPE, one that wants anything else
  UNSUPPORTED_ENDPOINT_TYPE, each with an empty cluster id as in Kafka.
- Authorized operations, on request: everything there is on a cluster, since nobody is refused anything yet.

Version notes:
- v1: the type of endpoint (KIP-919). v2: brokers that are fenced, on request (KIP-1073).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.errors import ErrorCode
from ottla.messages import DescribeClusterResponse, DescribeClusterResponseBroker

if TYPE_CHECKING:
    from ottla.messages import DescribeClusterRequest
    from ottla.protocol.services import Services
    from ottla.types import Answer, RequestContext

_BROKERS = 1
_CONTROLLERS = 2
_NOT_ASKED = -(2**31)
# Create, Alter, Describe, ClusterAction, DescribeConfigs, AlterConfigs, IdempotentWrite, CreateTokens, DescribeTokens:
# bits are numbers of AclOperation. Kafka without an authorizer answers the same.
_ALL_OPERATIONS = 0b1_1111_1010_0000


def handle(context: RequestContext, request: DescribeClusterRequest, services: Services, answer: Answer) -> None:
    """Answer DescribeCluster."""
    if request.endpoint_type != _BROKERS:
        answer(_wrong_endpoint(request.endpoint_type))
        return
    brokers = []
    for broker in services.image.brokers.values():
        endpoint = next((point for point in broker.end_points if point.name == context.listener), None)
        if endpoint is None or (broker.fenced and not request.include_fenced_brokers):
            continue
        brokers.append(
            DescribeClusterResponseBroker(
                broker_id=broker.broker_id,
                host=endpoint.host,
                port=endpoint.port,
                rack=broker.rack,
                is_fenced=broker.fenced,
            )
        )
    answer(
        DescribeClusterResponse(
            error_message=None,
            cluster_id=services.cluster_id,
            controller_id=services.node_id,
            brokers=brokers,
            cluster_authorized_operations=(
                _ALL_OPERATIONS if request.include_cluster_authorized_operations else _NOT_ASKED
            ),
        )
    )


def _wrong_endpoint(endpoint_type: int) -> DescribeClusterResponse:
    if endpoint_type == _CONTROLLERS:
        return DescribeClusterResponse(
            error_code=ErrorCode.MISMATCHED_ENDPOINT_TYPE,
            error_message="The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type "
            "CONTROLLER",
        )
    return DescribeClusterResponse(
        error_code=ErrorCode.UNSUPPORTED_ENDPOINT_TYPE,
        error_message=f"Unsupported endpoint type {endpoint_type}",
    )
