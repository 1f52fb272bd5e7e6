"""Whatever a request holds, its handler answers: no UNKNOWN_SERVER_ERROR, no closed connection, a sound image."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from ottla import messages as m
from ottla.config import TOPIC_SETTINGS
from ottla.controller.names import check_name
from ottla.errors import ErrorCode
from tests.unit.protocol.world import World

NAMES = st.one_of(st.sampled_from(["a", "b", "c.d", "c_d", "", "..", "__consumer_offsets", "x" * 250]), st.text())
COUNTS = st.one_of(st.sampled_from([-(2**31), -2, -1, 0, 1, 3, 2**31 - 1]), st.integers(-5, 12_000))
SMALL = st.integers(-(2**15), 2**15 - 1) | st.sampled_from([-1, 1, 3])
BROKERS = st.lists(st.sampled_from([-1, 0, 1, 1, 1, 2, 2**31 - 1]), max_size=3)
TEXTS = st.none() | st.text() | st.sampled_from(["1", "-1", "true", "compact", "delete", "9223372036854775808", "1e9"])
IDS = st.sampled_from([bytes(16), b"\1" * 16])
TIMEOUTS = st.sampled_from([-(2**31), -1, 0, 1000, 2**31 - 1])

CREATE = st.builds(
    m.CreateTopicsRequest,
    topics=st.lists(
        st.builds(
            m.CreateTopicsRequestCreatableTopic,
            name=NAMES,
            num_partitions=COUNTS,
            replication_factor=SMALL,
            assignments=st.lists(
                st.builds(
                    m.CreateTopicsRequestCreatableReplicaAssignment,
                    partition_index=st.integers(-1, 3),
                    broker_ids=BROKERS,
                ),
                max_size=3,
            ),
            configs=st.lists(
                st.builds(
                    m.CreateTopicsRequestCreatableTopicConfig,
                    name=st.sampled_from([*TOPIC_SETTINGS, "nope", ""]),
                    value=TEXTS,
                ),
                max_size=3,
            ),
        ),
        max_size=4,
    ),
    timeout_ms=TIMEOUTS,
    validate_only=st.booleans(),
)
GROW = st.builds(
    m.CreatePartitionsRequest,
    topics=st.lists(
        st.builds(
            m.CreatePartitionsRequestTopic,
            name=NAMES,
            count=COUNTS,
            assignments=st.none()
            | st.lists(st.builds(m.CreatePartitionsRequestAssignment, broker_ids=BROKERS), max_size=3),
        ),
        max_size=4,
    ),
    timeout_ms=TIMEOUTS,
    validate_only=st.booleans(),
)
DELETE = st.builds(
    m.DeleteTopicsRequest,
    topics=st.lists(st.builds(m.DeleteTopicsRequestDeleteTopicState, name=st.none() | NAMES, topic_id=IDS), max_size=4),
    topic_names=st.lists(NAMES, max_size=4),
    timeout_ms=TIMEOUTS,
)
DESCRIBE = st.builds(
    m.DescribeConfigsRequest,
    resources=st.lists(
        st.builds(
            m.DescribeConfigsRequestResource,
            resource_type=st.sampled_from([-1, 0, 2, 4, 8, 16, 32, 127]),
            resource_name=NAMES | st.sampled_from(["1", "-1", "99999999999999"]),
            configuration_keys=st.none() | st.lists(NAMES, max_size=3),
        ),
        max_size=4,
    ),
    include_synonyms=st.booleans(),
    include_documentation=st.booleans(),
)
CLUSTER = st.builds(
    m.DescribeClusterRequest,
    endpoint_type=st.integers(-128, 127),
    include_cluster_authorized_operations=st.booleans(),
    include_fenced_brokers=st.booleans(),
)
PRODUCER = st.builds(
    m.InitProducerIdRequest,
    transactional_id=st.none() | st.text(),
    producer_id=st.integers(-(2**63), 2**63 - 1),
    producer_epoch=SMALL,
)
RESOURCE_TYPES = st.sampled_from([-1, 0, 2, 2, 2, 4, 8, 16, 32, 127])
SETTING_NAMES = st.sampled_from([*TOPIC_SETTINGS, "nope", ""])
ALTER = st.builds(
    m.IncrementalAlterConfigsRequest,
    resources=st.lists(
        st.builds(
            m.IncrementalAlterConfigsRequestAlterConfigsResource,
            resource_type=RESOURCE_TYPES,
            resource_name=NAMES,
            configs=st.lists(
                st.builds(
                    m.IncrementalAlterConfigsRequestAlterableConfig,
                    name=SETTING_NAMES,
                    config_operation=st.integers(-1, 4),
                    value=TEXTS,
                ),
                max_size=3,
            ),
        ),
        max_size=3,
    ),
    validate_only=st.booleans(),
)
REPLACE = st.builds(
    m.AlterConfigsRequest,
    resources=st.lists(
        st.builds(
            m.AlterConfigsRequestResource,
            resource_type=RESOURCE_TYPES,
            resource_name=NAMES,
            configs=st.lists(
                st.builds(m.AlterConfigsRequestAlterableConfig, name=SETTING_NAMES, value=TEXTS), max_size=3
            ),
        ),
        max_size=3,
    ),
    validate_only=st.booleans(),
)
REQUESTS = st.one_of(
    st.tuples(st.just(19), st.integers(2, 7), CREATE),
    st.tuples(st.just(37), st.integers(0, 3), GROW),
    st.tuples(st.just(20), st.integers(1, 6), DELETE),
    st.tuples(st.just(32), st.integers(1, 4), DESCRIBE),
    st.tuples(st.just(44), st.integers(0, 1), ALTER),
    st.tuples(st.just(33), st.integers(0, 2), REPLACE),
    st.tuples(st.just(60), st.integers(0, 2), CLUSTER),
    st.tuples(st.just(22), st.integers(0, 5), PRODUCER),
)


def codes(value: Any) -> list[int]:
    """Every error code of a response, at any depth."""
    if isinstance(value, list):
        return [code for entry in value for code in codes(entry)]
    if not isinstance(value, Struct):
        return []
    found = [value.error_code] if hasattr(value, "error_code") else []
    return found + [code for name in value.__struct_fields__ for code in codes(getattr(value, name))]


@settings(max_examples=300)
@given(st.lists(REQUESTS, max_size=6))
def test_any_request_is_answered_with_a_code_of_the_protocol(requests: list[tuple[int, int, Struct]]) -> None:
    """And what was created has a legal name, whole partitions and checked settings."""
    world = World()
    for key, version, request in requests:
        response = world.call(key, version, request)
        assert ErrorCode.UNKNOWN_SERVER_ERROR not in codes(response)
        assert all(code in ErrorCode._value2member_map_ for code in codes(response))
    assert (world.dispatcher.status.failures, world.bridge.refused) == (0, [])
    for topic in world.services.image.topics.values():
        check_name(topic.name)
        assert [partition.index for partition in topic.partitions] == list(range(len(topic.partitions)))
        assert all(partition.leader == 1 and partition.replicas == (1,) for partition in topic.partitions)
        for name, text in world.services.image.topic_config(topic.name).items():
            TOPIC_SETTINGS[name].parse(text)
