"""The admin client against brokers that are old, slow, moving, or no brokers at all."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from ottla import messages
from ottla.admin import (
    EARLIEST,
    LATEST,
    MAX_TIMESTAMP,
    Admin,
    CommittedOffset,
    ConfigChange,
    ConfigOperation,
    NewPartitions,
    NewTopic,
    OffsetAt,
    Resource,
    ResourceType,
    TopicPartition,
    apis,
    parse_bootstrap,
    required,
)
from ottla.admin.apis import Api
from ottla.embed import new_codec
from ottla.errors import ErrorCode, InvalidInput, RequestError, Unreachable
from ottla.messages import (
    alter_configs,
    create_partitions,
    create_topics,
    delete_topics,
    describe_configs,
    describe_groups,
    find_coordinator,
    list_groups,
    list_offsets,
    metadata,
    offset_commit,
    offset_fetch,
)
from tests.unit.admin.fake_broker import KAFKA_2_0, Answer, FakeBroker, fake_broker


def client(broker: FakeBroker, timeout_ms: int = 10_000) -> Admin:
    return Admin(broker.address, timeout_ms=timeout_ms)


# Where to start.


@pytest.mark.parametrize(
    "text, found",
    [
        ("localhost:9092", [("localhost", 9092)]),
        ("a:1, b:2 ,", [("a", 1), ("b", 2)]),
        ("[::1]:9092", [("::1", 9092)]),
        ("PLAINTEXT://a:1", [("a", 1)]),
    ],
)
def test_bootstrap_servers_are_read(text: str, found: list[tuple[str, int]]) -> None:
    """HOST:PORT, several, IPv6, and with the name of a listener as it stands in server.properties."""
    assert parse_bootstrap(text) == found


@pytest.mark.parametrize(
    "text", ["", ",", "localhost", "localhost:", ":9092", "a:0", "a:65536", "a:x", "a b:1", "a:1/x"]
)
def test_bootstrap_servers_that_are_none(text: str) -> None:
    """A sentence says what would be right."""
    with pytest.raises(InvalidInput, match="HOST:PORT"):
        parse_bootstrap(text)


# What is no broker.


@contextlib.contextmanager
def peer(reply: bytes | None) -> Iterator[str]:
    """Something that accepts and answers with these bytes (None: nothing) and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = threading.Event()

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        if reply is None:
                            done.wait(60)
                        else:
                            connection.recv(4096)
                            connection.sendall(reply)

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        done.set()


def test_a_dead_port_is_said_at_once() -> None:
    """The address and the reason; of several addresses each."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        dead = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Unreachable, match=f"{dead} cannot be connected to: connection refused"):
            Admin(dead).describe_cluster()
        with pytest.raises(Unreachable, match=f"no broker can be reached: {dead} .*; localhost:"):
            Admin(f"{dead},localhost:{dead.split(':')[1]}").describe_cluster()


@pytest.mark.parametrize("host", ["a..b", "x" * 64])
def test_what_is_no_name_of_a_host_is_said(host: str) -> None:
    """Python does not even look such a name up, and says so by an error that is no OSError."""
    with Admin(f"{host}:9092") as admin, pytest.raises(Unreachable, match="is no name a host can have"):
        admin.describe_cluster()


def test_the_second_address_is_used_when_the_first_is_dead() -> None:
    """As with any client: one live broker is enough to start."""
    with socket.socket() as taken, fake_broker() as broker:
        taken.bind(("127.0.0.1", 0))
        with Admin(f"127.0.0.1:{taken.getsockname()[1]},{broker.address}") as admin:
            assert admin.describe_cluster().cluster_id == "fake"


@pytest.mark.parametrize(
    "reply, said",
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not answer as a Kafka broker does"),
        (b"\x15\x03\x03\x00\x02\x02\x46", "does not answer as a Kafka broker does"),
        (b"\0\0\0\x06\0\0\0\1\0\0", "does not answer as a Kafka broker does"),
        (b"\0\0\0\x0a\0\0\0\x09\0\0\0\0\0\0", "it is that to 9"),
        (b"", "closed the connection at once; if it is a broker, this port may want TLS or a login"),
    ],
)
def test_what_is_no_broker_is_told_apart(reply: bytes, said: str) -> None:
    """HTTP, TLS, a cut answer, somebody else's answer, a closed door: a sentence for each."""
    with peer(reply) as address, pytest.raises(Unreachable, match=said):
        Admin(address).describe_cluster()


def test_a_port_that_says_nothing_is_given_up() -> None:
    """The time-out of connecting covers the first answer, so that a silent port costs no more than a dead host."""
    with peer(None) as address, pytest.raises(Unreachable, match="did not answer ApiVersions within 0 s"):
        Admin(address, timeout_ms=60_000, connect_timeout_ms=200).describe_cluster()


# Versions.


def test_every_api_is_encoded_in_each_version_named() -> None:
    """The table of the client says nothing that the codec cannot put into bytes."""
    codec = new_codec()
    tables = [each for each in vars(apis).values() if isinstance(each, Api)]
    assert len(tables) == 26
    for api in tables:
        for version in range(api.lowest, api.highest + 1):
            body = codec.encode_request(api.key, version, getattr(messages, f"{api.name}Request")())
            assert type(codec.decode_request(api.key, version, body)).__name__ == f"{api.name}Request"
        assert api.key in KAFKA_2_0 or (api.key, api.lowest) in apis.SINCE
        if api.key in KAFKA_2_0:
            low, high = KAFKA_2_0[api.key]
            assert max(low, api.lowest) <= min(high, api.highest), f"{api.name} cannot be asked of Kafka 2.0"


def test_kafka_2_0_is_asked_in_its_own_versions() -> None:
    """ApiVersions 3 is refused, 0 answered; then topics, groups and offsets work in the versions of 2018."""
    place = TopicPartition("t", 0)
    row = metadata.MetadataResponsePartition(partition_index=0, leader_id=1, replica_nodes=[1], isr_nodes=[1])
    topic = metadata.MetadataResponseTopic(name="t", partitions=[row])
    with fake_broker() as broker:
        broker.answers = {
            3: lambda request: broker.metadata(topics=[] if request.topics == [] else [topic]),
            19: create_topics.CreateTopicsResponse(
                topics=[create_topics.CreateTopicsResponseCreatableTopicResult(name="t")]
            ),
            20: delete_topics.DeleteTopicsResponse(
                responses=[delete_topics.DeleteTopicsResponseDeletableTopicResult(name="t")]
            ),
            37: create_partitions.CreatePartitionsResponse(
                results=[create_partitions.CreatePartitionsResponseTopicResult(name="t")]
            ),
            2: list_offsets.ListOffsetsResponse(
                topics=[
                    list_offsets.ListOffsetsResponseTopicResponse(
                        "t", [list_offsets.ListOffsetsResponsePartitionResponse(offset=7)]
                    )
                ]
            ),
            10: find_coordinator.FindCoordinatorResponse(node_id=1, host="127.0.0.1", port=broker.port),
            15: describe_groups.DescribeGroupsResponse(
                groups=[
                    describe_groups.DescribeGroupsResponseDescribedGroup(group_id="g", group_state="Empty"),
                    describe_groups.DescribeGroupsResponseDescribedGroup(group_id="gone", group_state="Dead"),
                ]
            ),
            16: list_groups.ListGroupsResponse(groups=[list_groups.ListGroupsResponseListedGroup("g", "consumer")]),
            9: offset_fetch.OffsetFetchResponse(
                topics=[
                    offset_fetch.OffsetFetchResponseTopic(
                        "t", [offset_fetch.OffsetFetchResponsePartition(committed_offset=5)]
                    )
                ]
            ),
            8: offset_commit.OffsetCommitResponse(
                topics=[
                    offset_commit.OffsetCommitResponseTopic(
                        "t", partitions=[offset_commit.OffsetCommitResponsePartition()]
                    )
                ]
            ),
        }
        with client(broker) as admin:
            assert [each.name for each in admin.list_topics()] == ["t"]
            found = required(admin.describe_topics(["t"])["t"])
            assert (found.partitions[0].leader, found.topic_id, found.partitions[0].eligible_leaders) == (1, None, None)
            assert required(admin.create_topics([NewTopic("t", 1, 1)])["t"]).partitions is None
            assert admin.delete_topics(["t"]) == {"t": None}
            assert admin.create_partitions({"t": NewPartitions(3)}) == {"t": None}
            assert admin.list_offsets({place: LATEST}) == {place: OffsetAt(7, -1, None)}
            groups = admin.describe_groups(["g", "gone"])
            assert required(groups["g"]).state == "Empty"
            gone = groups["gone"]
            assert isinstance(gone, RequestError)
            assert gone.code == ErrorCode.GROUP_ID_NOT_FOUND
            assert [(each.group_id, each.state, each.type) for each in admin.list_groups()] == [("g", None, None)]
            assert admin.list_group_offsets("g") == {place: CommittedOffset(5, None, "")}
            assert admin.alter_group_offsets("g", {place: CommittedOffset(3)}) == {place: None}
            # What 2.0 cannot do is said, not sent.
            for question in (
                lambda: admin.create_topics([NewTopic("t")]),
                lambda: admin.list_groups(states=["Empty"]),
                lambda: admin.list_offsets({place: MAX_TIMESTAMP}),
                lambda: admin.delete_group_offsets("g", [place]),
            ):
                with pytest.raises(RequestError) as caught:
                    question()
                assert caught.value.code == ErrorCode.UNSUPPORTED_VERSION
        assert broker.connections == 1
        for key, (low, high) in KAFKA_2_0.items():
            assert all(low <= version <= high for version, _ in broker.requests(key))


def test_what_is_not_served_is_named_with_its_age() -> None:
    """UNSUPPORTED_VERSION, and since when Apache Kafka has it."""
    with fake_broker() as broker, client(broker) as admin:
        said = r"does not serve ListGroups of version 4 or later; Apache Kafka does since 2\.6"
        with pytest.raises(RequestError, match=said) as caught:
            admin.list_groups(states=["Empty"])
        assert caught.value.code == ErrorCode.UNSUPPORTED_VERSION
        broker.answers[10] = find_coordinator.FindCoordinatorResponse(node_id=1, host="127.0.0.1", port=broker.port)
        with pytest.raises(RequestError, match=r"does not serve OffsetDelete; Apache Kafka does since 2\.4"):
            admin.delete_group_offsets("g", [TopicPartition("t", 0)])


def test_before_2_3_a_change_of_one_setting_sends_all_that_are_set() -> None:
    """AlterConfigs replaces everything: what is set goes along, what is a default does not."""
    entry = describe_configs.DescribeConfigsResponseResourceResult
    described = describe_configs.DescribeConfigsResponse(
        results=[
            describe_configs.DescribeConfigsResponseResult(
                resource_type=2,
                resource_name="t",
                configs=[
                    entry("retention.ms", "5", config_source=1),
                    entry("segment.ms", "6", config_source=1),
                    entry("cleanup.policy", "delete", config_source=5),
                    entry("flush.ms", "9", config_source=5),
                ],
            )
        ]
    )
    answer = alter_configs.AlterConfigsResponse(
        responses=[alter_configs.AlterConfigsResponseResourceResponse(resource_type=2, resource_name="t")]
    )
    topic = Resource(ResourceType.TOPIC, "t")
    with fake_broker(answers={32: described, 33: answer}) as broker, client(broker) as admin:
        changes = [
            ConfigChange("segment.ms", None, ConfigOperation.DELETE),
            ConfigChange("max.message.bytes", "10"),
            ConfigChange("cleanup.policy", "compact", ConfigOperation.APPEND),
        ]
        assert admin.alter_configs({topic: changes}) == {topic: None}
        _, request = broker.requests(33)[0]
        sent = {each.name: each.value for each in request.resources[0].configs}
        assert sent == {"retention.ms": "5", "max.message.bytes": "10", "cleanup.policy": "delete,compact"}


# What moves.


def test_the_controller_is_looked_up_again_when_it_has_moved() -> None:
    """NOT_CONTROLLER for one topic: only that one is asked again, of the new controller."""
    result = create_topics.CreateTopicsResponseCreatableTopicResult
    with fake_broker() as old, fake_broker() as new:
        brokers = [
            metadata.MetadataResponseBroker(1, "127.0.0.1", old.port),
            metadata.MetadataResponseBroker(2, "127.0.0.1", new.port),
        ]
        controllers = iter([1, 2])
        old.answers = {
            3: lambda _: old.metadata(brokers=brokers, controller_id=next(controllers)),
            19: create_topics.CreateTopicsResponse(topics=[result("a"), result("b", error_code=41)]),
        }
        new.answers = {19: create_topics.CreateTopicsResponse(topics=[result("b")])}
        with client(old) as admin:
            outcomes = admin.create_topics([NewTopic("a", 1, 1), NewTopic("b", 1, 1)])
            assert {name: required(outcome).name for name, outcome in outcomes.items()} == {"a": "a", "b": "b"}
        assert [[topic.name for topic in request.topics] for _, request in new.requests(19)] == [["b"]]


def test_partitions_are_asked_of_their_leaders() -> None:
    """Two brokers, a partition each; one has just lost its leader and is asked again."""
    offsets = list_offsets.ListOffsetsResponse
    with fake_broker() as one, fake_broker() as two:
        leaders = iter([2, 1])

        def told(request: metadata.MetadataRequest) -> metadata.MetadataResponse:
            rows = []
            if request.topics:
                second = next(leaders)
                rows = [
                    metadata.MetadataResponsePartition(partition_index=0, leader_id=1),
                    metadata.MetadataResponsePartition(partition_index=1, leader_id=second),
                ]
            return one.metadata(
                brokers=[
                    metadata.MetadataResponseBroker(1, "127.0.0.1", one.port),
                    metadata.MetadataResponseBroker(2, "127.0.0.1", two.port),
                ],
                topics=[metadata.MetadataResponseTopic(name="t", partitions=rows)],
            )

        def listed(code: int) -> Answer:
            def answer(request: list_offsets.ListOffsetsRequest) -> list_offsets.ListOffsetsResponse:
                rows = [
                    list_offsets.ListOffsetsResponsePartitionResponse(each.partition_index, code, offset=9)
                    for each in request.topics[0].partitions
                ]
                return offsets(topics=[list_offsets.ListOffsetsResponseTopicResponse("t", rows)])

            return answer

        one.answers = {3: told, 2: listed(0)}
        two.answers = {2: listed(ErrorCode.NOT_LEADER_OR_FOLLOWER)}
        with client(one) as admin:
            wanted = [TopicPartition("t", 0), TopicPartition("t", 1)]
            found = admin.list_offsets(dict.fromkeys(wanted, EARLIEST))
        assert [required(found[place]).offset for place in wanted] == [9, 9]
        assert [request.topics[0].partitions[0].partition_index for _, request in one.requests(2)] == [0, 1]
        assert len(two.requests(2)) == 1


def test_a_coordinator_that_loads_is_waited_for() -> None:
    """COORDINATOR_LOAD_IN_PROGRESS passes; the deadline bounds the waiting."""
    codes = iter([15, 14, 0])
    with fake_broker() as broker:
        broker.answers = {
            10: find_coordinator.FindCoordinatorResponse(node_id=1, host="127.0.0.1", port=broker.port),
            9: lambda _: offset_fetch.OffsetFetchResponse(error_code=next(codes)),
        }
        with client(broker) as admin:
            assert admin.list_group_offsets("g") == {}
        broker.answers[9] = offset_fetch.OffsetFetchResponse(error_code=14)
        with client(broker, timeout_ms=300) as admin, pytest.raises(RequestError) as caught:
            admin.list_group_offsets("g")
        assert caught.value.code == ErrorCode.COORDINATOR_LOAD_IN_PROGRESS


def test_what_no_request_can_carry_is_wrong_input() -> None:
    """It is found out before anything is sent, and the connection goes on."""
    with fake_broker() as broker, client(broker) as admin:
        with pytest.raises(InvalidInput, match=r"has no room for what is asked: .*70000 bytes is longer than 32767"):
            admin.create_topics([NewTopic("t", 1, 1, configs=(("retention.ms", "1" * 70_000),))])
        assert admin.api_versions()


def test_a_connection_that_was_closed_while_idle_is_opened_again() -> None:
    """connections.max.idle.ms must not turn the next question of a long-lived client into an error."""
    with fake_broker() as broker, client(broker) as admin:
        admin.describe_cluster()
        broker.drop_connections()
        assert admin.describe_cluster().cluster_id == "fake"
        assert broker.connections == 2


def test_an_address_that_cannot_be_used_is_named_as_advertised() -> None:
    """The well-known trap of advertised.listeners: the broker answers, but sends us somewhere else."""
    with socket.socket() as taken, fake_broker() as broker:
        taken.bind(("127.0.0.1", 0))
        dead = taken.getsockname()[1]
        brokers = [
            metadata.MetadataResponseBroker(1, "127.0.0.1", broker.port),
            metadata.MetadataResponseBroker(2, "127.0.0.1", dead),
        ]
        broker.answers[3] = broker.metadata(brokers=brokers, controller_id=2)
        with client(broker) as admin, pytest.raises(Unreachable, match=f"broker 2 advertises 127.0.0.1:{dead}, which"):
            admin.create_topics([NewTopic("t", 1, 1)])


def test_a_code_that_is_newer_than_the_table_is_an_error_too() -> None:
    """A broker of the future refuses with a number; it is said, not taken for success."""
    row = create_topics.CreateTopicsResponseCreatableTopicResult("t", error_code=999, error_message=None)
    with (
        fake_broker(answers={19: create_topics.CreateTopicsResponse(topics=[row])}) as broker,
        client(broker) as admin,
        pytest.raises(RequestError, match="error code 999"),
    ):
        required(admin.create_topics([NewTopic("t", 1, 1)])["t"])
