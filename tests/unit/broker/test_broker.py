"""A broker in this process: composed, started, used over a socket, stopped, started again. The native half is real."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewPartitions, NewTopic
from kafka.errors import InvalidPartitionsError
from kafka.structs import OffsetAndMetadata

import ottla
from ottla import _core, messages
from ottla import broker as broker_module
from ottla.controller.names import OFFSETS_TOPIC
from ottla.errors import DirectoryInUse, NewerFormat, NotReady, StorageError
from ottla.protocol.commits import CommittingMetadataLog
from tests.unit.broker.failing_fsync import NOT_POSSIBLE
from tests.wire.client import Connection, decode_response


def produce(broker: ottla.Broker, topic: str, *values: bytes) -> None:
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap_servers)
    for value in values:
        producer.send(topic, value).get(30)
    producer.close()


def consume(broker: ottla.Broker, topic: str, count: int, **more: Any) -> list[bytes]:
    """The first `count` values of a topic of one partition, without a group."""
    consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap_servers, auto_offset_reset="earliest", **more)
    consumer.assign([TopicPartition(topic, 0)])
    consumer.seek_to_beginning()
    values = [next(consumer).value for _ in range(count)]
    consumer.close()
    return values


@pytest.fixture
def admin() -> Iterator[list[KafkaAdminClient]]:
    clients: list[KafkaAdminClient] = []
    yield clients
    for client in clients:
        client.close()


def test_a_broker_in_memory_serves_on_a_free_port() -> None:
    """Nothing is on the disk, any Kafka client works, and the address is gone afterwards."""
    with ottla.Broker() as broker:
        host, port = broker.bootstrap_servers.split(":")
        assert (host, port != "0") == ("127.0.0.1", True)
        produce(broker, "greetings", b"hello", b"world")
        assert consume(broker, "greetings", 2) == [b"hello", b"world"]
        status = broker.status()
        healthy = {"disk_failures": 0, "directories_offline": [], "directories_full": [], "partitions_offline": 0}
        assert {name: status.engine[name] for name in healthy} == healthy
        assert (status.data_dirs, status.controller.topics, status.dispatcher.failures) == ((), 1, 0)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5)
    broker.stop()
    with pytest.raises(NotReady):
        broker.status()


def test_two_brokers_live_beside_each_other() -> None:
    """No state is shared between them: a topic of one is not known to the other."""
    with ottla.Broker() as one, ottla.Broker(config={"node.id": 2}) as two:
        produce(one, "mine", b"1")
        assert one.status().controller.topics == 1
        assert two.status().controller.topics == 0
        assert one.status().cluster_id != two.status().cluster_id


def test_a_lone_broker_with_an_empty_configuration_keeps_offsets(tmp_path: Path) -> None:
    """Kafka's default of three replicas for __consumer_offsets becomes one; a commit survives a restart."""
    with ottla.Broker(tmp_path / "data") as broker:
        produce(broker, "t", *(b"%d" % number for number in range(10)))
        consumer = KafkaConsumer(
            "t", bootstrap_servers=broker.bootstrap_servers, group_id="g", auto_offset_reset="earliest"
        )
        assert [next(consumer).value for _ in range(4)] == [b"0", b"1", b"2", b"3"]
        consumer.commit()
        consumer.close(autocommit=False)
        offsets_topic = broker._now().controller.image.topics[OFFSETS_TOPIC]
        assert [partition.replicas for partition in offsets_topic.partitions] == [(1,)] * 50
    with ottla.Broker(tmp_path / "data") as broker:
        consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap_servers, group_id="g")
        committed = consumer.committed(TopicPartition("t", 0))
        consumer.close()
        assert committed == 4


def test_the_offsets_topic_may_be_made_by_a_client(tmp_path: Path, admin: list[KafkaAdminClient]) -> None:
    """With the partitions it asks for, by which groups are found from then on, and compacted all the same."""
    groups = [f"g{number}" for number in range(8)]
    at = TopicPartition("t", 0)
    with ottla.Broker(tmp_path / "data") as broker:
        produce(broker, "t", b"1")
        admin.append(KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers))
        admin[0].create_topics([NewTopic(OFFSETS_TOPIC, 2, 1)])
        image = broker._now().controller.image
        assert image.topic_config(OFFSETS_TOPIC)["cleanup.policy"] == "compact"
        for number, group in enumerate(groups):
            consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap_servers, group_id=group)
            consumer.assign([at])
            consumer.commit({at: OffsetAndMetadata(number, "", -1)}, timeout_ms=30_000)
            consumer.close(autocommit=False)
        with pytest.raises(InvalidPartitionsError, match="lose their committed offsets"):
            admin[0].create_partitions({OFFSETS_TOPIC: NewPartitions(3)})
        admin.pop().close()
    with ottla.Broker(tmp_path / "data") as broker:
        for number, group in enumerate(groups):
            consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap_servers, group_id=group)
            assert consumer.committed(at) == number
            consumer.close(autocommit=False)


def test_what_exists_survives_a_restart(tmp_path: Path, admin: list[KafkaAdminClient]) -> None:
    """Topics with their ids, partitions and settings, the cluster id; producer ids are never handed out twice."""
    with ottla.Broker(tmp_path / "data") as broker:
        admin.append(KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers))
        admin[0].create_topics([NewTopic("t", 3, 1, topic_configs={"retention.ms": "1000"})])
        produce(broker, "u", b"1")
        image = broker._now().controller.image
        before = (image.topics, image.configs, broker.status().cluster_id)
        block = image.producer_ids
        assert block is not None
        admin.pop().close()
    with ottla.Broker(tmp_path / "data") as broker:
        image = broker._now().controller.image
        assert (image.topics, image.configs, broker.status().cluster_id) == before
        assert broker.status().clean_start
        assert consume(broker, "u", 1) == [b"1"]
        produce(broker, "u", b"2")
        assert image.producer_ids is not None
        assert image.producer_ids.next_producer_id == block.next_producer_id + 1000


def test_a_snapshot_takes_the_place_of_the_log(tmp_path: Path, admin: list[KafkaAdminClient]) -> None:
    """With a snapshot after every change, a restart finds the same image, and Kafka's file name on the disk."""
    config = {"metadata.log.max.record.bytes.between.snapshots": 1}
    with ottla.Broker(tmp_path / "data", config=config) as broker:
        admin.append(KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers))
        admin[0].create_topics([NewTopic(f"t{number}", 2, 1) for number in range(3)])
        admin[0].delete_topics(["t1"])
        admin.pop().close()
        topics = broker._now().controller.image.topics
        assert broker.status().controller.bytes_since_snapshot == 0
    assert list((tmp_path / "data" / "__cluster_metadata-0").glob("*.checkpoint"))
    with ottla.Broker(tmp_path / "data") as broker:
        assert broker._now().controller.image.topics == topics
        assert sorted(topics) == ["t0", "t2"]


def test_a_data_directory_has_one_owner(tmp_path: Path) -> None:
    """A second opener in this process is kept out, and told who is inside; afterwards it may."""
    with ottla.Broker(tmp_path / "data"):
        second = ottla.Broker(tmp_path / "data")
        with pytest.raises(DirectoryInUse, match=str(os.getpid())):
            second.start()
    with second:
        assert second.status().controller.topics == 0


def test_a_taken_port_fails_the_start_and_lets_go_of_everything(tmp_path: Path) -> None:
    """The directory may be opened again at once, and no thread is left."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(OSError, match="ddress"):
            ottla.Broker(tmp_path / "data", listen=listen).start()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ottla-control")]
    with ottla.Broker(tmp_path / "data", listen=listen) as broker:
        assert broker.bootstrap_servers == listen


def test_a_start_that_cannot_show_what_exists_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients would find a broker without its topics or groups; the caller is told, and may start again."""
    with ottla.Broker(tmp_path / "data") as broker:
        produce(broker, "t", b"1")

    def broken(*_: object) -> None:
        raise StorageError("no such luck")

    with monkeypatch.context() as patched:
        patched.setattr(broker_module._Running, "_topic", broken)
        with pytest.raises(StorageError, match="no such luck"):
            ottla.Broker(tmp_path / "data").start()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ottla-control")]
    with ottla.Broker(tmp_path / "data") as broker:
        assert broker.status().controller.topics == 1


def test_a_start_in_a_program_with_many_open_files(tmp_path: Path) -> None:
    """More than select() can name."""
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        with ottla.Broker(tmp_path / "data") as broker:
            assert broker._now().bridge.fileno() > 1024
    finally:
        for descriptor in opened:
            os.close(descriptor)


def test_a_registration_that_does_not_reach_the_disk_fails_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says which file, and how long it waited."""
    monkeypatch.setattr(broker_module, "_REGISTRATION_TIMEOUT_S", 0)
    monkeypatch.setattr(CommittingMetadataLog, "when_committed", lambda *_: None)
    with pytest.raises(NotReady, match=f"__cluster_metadata-0 did not reach the disk of {tmp_path}/data in 0 s"):
        ottla.Broker(tmp_path / "data").start()


@pytest.mark.parametrize("step", ["server", "background"])
def test_a_stop_that_fails_lets_go_of_everything_all_the_same(tmp_path: Path, step: str) -> None:
    """An error, or a Ctrl-C, in any step of a stop: the thread ends and the directory may be opened again."""
    broker = ottla.Broker(tmp_path / "data").start()
    running = broker._now()

    part: Any = getattr(running, step)

    class Interrupted:
        """Something whose stop is interrupted."""

        def stop(self, *arguments: float) -> None:
            part.stop(*arguments)
            raise KeyboardInterrupt

    setattr(running, step, Interrupted())
    with pytest.raises(KeyboardInterrupt):
        broker.stop()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ottla-control")]
    with ottla.Broker(tmp_path / "data") as again:
        assert again.status().clean_start


def test_a_stop_answers_what_is_being_worked_on() -> None:
    """A DeleteRecords that is at the disk when the stop begins is answered before the connection ends."""
    broker = ottla.Broker().start()
    running = broker._now()
    produce(broker, "a", b"1")
    begun, go_on = threading.Event(), threading.Event()
    delete_records = running.engine.delete_records

    def slow(wanted: Any) -> Any:
        begun.set()
        assert go_on.wait(30)
        return delete_records(wanted)

    storage: Any = SimpleNamespace(delete_records=slow)
    running.services.storage = storage
    host, port = broker.bootstrap_servers.split(":")
    with Connection(host, int(port), timeout_s=30) as client, ThreadPoolExecutor() as pool:
        partition = {"partition_index": 0, "offset": 1}
        client.submit("delete_records", 2, topics=[{"name": "a", "partitions": [partition]}], timeout_ms=30_000)
        assert begun.wait(30)
        stopped = pool.submit(broker.stop, 30_000)
        while True:
            try:
                socket.create_connection((host, int(port)), timeout=5).close()
            except OSError:
                break
        go_on.set()
        _, answer = decode_response("delete_records", 2, client.receive())
        assert answer["topics"][0]["partitions"][0]["low_watermark"] == 1
        assert client.closed_by_peer()
        stopped.result(30)


def test_what_has_no_effect_is_said(caplog: pytest.LogCaptureFixture, admin: list[KafkaAdminClient]) -> None:
    """At the start of an embedded broker too, and when a topic is made; not for the broker's own topics."""
    with ottla.Broker(config={"log.preallocate": True, "num.io.threads": 8}) as broker:
        admin.append(KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers))
        admin[0].create_topics([NewTopic("c", 1, 1, topic_configs={"preallocate": "true", "retention.ms": "1"})])
        admin[0].create_topics([NewTopic(OFFSETS_TOPIC, 1, 1)])
        admin.pop().close()
    said = [
        record.getMessage() for record in caplog.records if record.levelname == "WARNING" and "ottla" in record.name
    ]
    assert said[:2] == [
        "log.preallocate=true (config) has no effect: files grow as they are written",
        "num.io.threads (config) has no effect: Ottla sizes its own threads",
    ]
    (topic,) = said[2:]
    assert topic.startswith("topic c: preallocate=true has no effect: files grow as they are written")


def test_none_is_a_setting_that_is_not_set() -> None:
    """A program that passes on what it was not given gets the default, not the text "None"."""
    broker = ottla.Broker(config={"broker.rack": None, "num.partitions": None, "node.id": 7})
    assert broker.config["broker.rack"] is None
    assert broker.config.given.keys() >= {"node.id"}
    assert not broker.config.given.keys() & {"broker.rack", "num.partitions"}


def test_a_host_without_an_address_is_a_mistake_of_the_settings(tmp_path: Path) -> None:
    """Said as such, and the directory is let go of."""
    with pytest.raises(ottla.ConfigError, match=r"no\.such\.host\.invalid"):
        ottla.Broker(tmp_path / "data", listen="no.such.host.invalid:9092").start()
    with ottla.Broker(tmp_path / "data"):
        pass


def test_several_listeners_each_tell_their_own_address() -> None:
    """A client that comes by one listener is sent to that listener's advertised address."""
    config = {
        "listeners": "INSIDE://127.0.0.1:0,OUTSIDE://127.0.0.1:0",
        "advertised.listeners": "OUTSIDE://localhost:0",
        "listener.security.protocol.map": "INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT",
    }
    with ottla.Broker(config=config) as broker:
        inside, outside = broker.status().listeners
        assert broker.bootstrap_servers == f"127.0.0.1:{inside[2]}"
        for (_, host, port), told in ((inside, "127.0.0.1"), (outside, "localhost")):
            client = KafkaAdminClient(bootstrap_servers=f"{host}:{port}")
            (node,) = client.describe_cluster()["brokers"]
            client.close()
            assert (node["host"], node["port"]) == (told, port)


def test_a_directory_of_a_fuller_broker_is_refused(tmp_path: Path) -> None:
    """Finalized features this version does not understand mean records it would misread."""
    codec = _core.Codec()
    with ottla.Broker(tmp_path / "data") as broker:
        log = broker._now().metadata_log
        record = messages.FeatureLevelRecord(name="metadata.version", feature_level=31)
        log.append([codec.encode_metadata_record(record, 0)], 0)
    with pytest.raises(NewerFormat, match=r"metadata\.version=31"):
        ottla.Broker(tmp_path / "data").start()


def test_a_program_that_just_ends_leaves_a_clean_directory(tmp_path: Path) -> None:
    """No stop, no with: the interpreter's exit stops the broker. A forked child's copy stops nothing."""
    program = f"""
import os, socket, ottla
broker = ottla.Broker({str(tmp_path / "data")!r}).start()
child = os.fork()
if not child:
    broker.stop()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
host, port = broker.bootstrap_servers.split(":")
socket.create_connection((host, int(port))).close()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    with ottla.Broker(tmp_path / "data") as broker:
        assert broker.status().clean_start


def test_a_disk_that_stops_taking_writes_leaves_nobody_waiting(tmp_path: Path) -> None:
    """Every fsync fails: who changes metadata is told, what is there is served, and the next start goes on from it."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.broker.failing_fsync", str(tmp_path / "data")],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if done.returncode == NOT_POSSIBLE:
        pytest.skip("this kernel lets no process filter its own calls")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "during KafkaStorageError",
        "after KafkaStorageError",
        "topics ['before']",
        "waiting 0",
        "told True",
        "not closed cleanly",
    ]
    assert "Nothing can be changed until the broker is started again" in done.stderr
    with ottla.Broker(tmp_path / "data") as broker:
        assert not broker.status().clean_start
        assert "before" in broker._now().controller.image.topics


@pytest.mark.parametrize("end", ["broker.stop()", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_forked_child_does_not_hold_the_directory(tmp_path: Path, end: str) -> None:
    """The next owner gets in while a child of the last one lives: after a stop, and after a kill."""
    program = f"""
import os, signal, sys, ottla
broker = ottla.Broker({str(tmp_path / "data")!r}).start()
if not os.fork():
    sys.stdin.read()  # until the test closes the pipe
    os._exit(0)
{end}
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)
    assert parent.stdin is not None
    with parent.stdin:
        parent.wait(60)
        with ottla.Broker(tmp_path / "data") as broker:
            assert broker.status().clean_start is ("stop" in end)


def test_settings_are_checked_before_anything_is_opened(tmp_path: Path) -> None:
    """Every problem at once, and no directory made."""
    with pytest.raises(ottla.ConfigError) as caught:
        ottla.Broker(tmp_path / "data", config={"num.partitions": 0, "ottla.durability": "maybe"})
    assert [problem.split("=")[0] for problem in caught.value.problems] == ["num.partitions", "ottla.durability"]
    assert list(tmp_path.iterdir()) == []


def test_a_configuration_may_be_a_file(tmp_path: Path) -> None:
    """server.properties, with the arguments counting over it."""
    file = tmp_path / "server.properties"
    file.write_text("num.partitions=4\nlisteners=PLAINTEXT://127.0.0.1:1\n")
    broker = ottla.Broker(listen="127.0.0.1:0", config=file)
    assert broker.config["num.partitions"] == 4
    assert str(broker.config.listeners[0]) == "PLAINTEXT://127.0.0.1:0"
    assert ottla.Broker(config={"auto.create.topics.enable": False}).config["auto.create.topics.enable"] is False


def test_a_virtual_clock_fires_deadlines_without_waiting() -> None:
    """An hour passes at once, for the engine and for the control plane's deadlines."""
    clock = _core.VirtualClock(1_700_000_000_000)
    with ottla.Broker(virtual_clock=clock) as broker:
        running = broker._now()
        assert running.engine.now_ms() == 1_700_000_000_000
        armed, fired = threading.Event(), threading.Event()

        def arm(_: object) -> None:
            running.deadlines.at(running.engine.monotonic_ms() + 3_600_000, fired.set)
            armed.set()

        # The end of work is told on the control plane's thread.
        running.background.run(lambda: None, arm)
        assert armed.wait(30)
        assert not fired.is_set()
        broker.turn_clock(3_600_000)
        assert fired.wait(30)
    with ottla.Broker() as broker, pytest.raises(NotReady):
        broker.turn_clock(1)
