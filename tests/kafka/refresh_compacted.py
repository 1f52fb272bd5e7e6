"""Makes rust/log/tests/fixtures/kafka-4.3.1-compacted: what Apache Kafka's cleaner leaves of transactions, tombstones
and idempotent batches in every codec.

    python -m tests.kafka.refresh_compacted

Kafka writes, cleans and is stopped; the partition's directory is kept as it lies there, and beside it what Kafka
answered to a consumer: offset, key and value (`-`: none) of each record, for read_committed and read_uncommitted.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import confluent_kafka as ck
import confluent_kafka.admin

from tests.clients.drivers import CK_ADMIN, QUIET, wait_until
from tests.kafka import jars
from tests.kafka.broker import KafkaProcess

TOPIC = "compacted"
FIXTURE = jars.ROOT / "rust" / "log" / "tests" / "fixtures" / f"kafka-{jars.VERSION}-{TOPIC}"
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
KEYS = 8
ROUNDS = 15
BROKER = {"log.cleaner.backoff.ms": "100", "transaction.state.log.num.partitions": "1", "log.cleaner.threads": "1"}
# The second setting is Kafka's own way to segments below 1 MiB.
SETTINGS = {
    "cleanup.policy": "compact",
    "internal.segment.bytes": "4096",
    "index.interval.bytes": "512",
    "min.cleanable.dirty.ratio": "0.01",
    # Tombstones and markers of the first half go; those of the second half stay.
    "delete.retention.ms": "3000",
}
KEPT = (".log", ".index", ".timeindex", ".txnindex", ".snapshot", "leader-epoch-checkpoint", "partition.metadata")


def producer(bootstrap: str, **settings: Any) -> ck.Producer:
    return ck.Producer({"bootstrap.servers": bootstrap, "linger.ms": 50, **settings, **QUIET})


def write(bootstrap: str, rounds: range) -> None:
    """Each round, in its own codec: idempotent records, a transaction that commits and one that aborts; every fourth
    round deletes a key.
    """
    for number in rounds:
        codec = CODECS[number % len(CODECS)]
        plain = producer(bootstrap, **{"enable.idempotence": True, "compression.type": codec})
        for key in range(KEYS):
            plain.produce(TOPIC, f"{codec} {number} {key} {'and so on ' * 4}".encode(), f"k{key}".encode())
        if number % 4 == 3:
            plain.produce(TOPIC, None, f"k{number % KEYS}".encode(), headers=[("why", b"gone")])
        plain.flush(30)
        for name, commits in (("committed", True), ("aborted", False)):
            transactional = producer(bootstrap, **{"transactional.id": f"{name}", "compression.type": codec})
            transactional.init_transactions(30)
            transactional.begin_transaction()
            for key in range(0, KEYS, 3):
                transactional.produce(TOPIC, f"{name} {number} {key}".encode(), f"t{key}".encode())
            transactional.flush(30)
            if commits:
                transactional.commit_transaction(30)
            else:
                transactional.abort_transaction(30)


def clean_until(data_dir: Path) -> int:
    """Where the cleaner has got to."""
    lines = (data_dir / "cleaner-offset-checkpoint").read_text().splitlines()[2:] if data_dir.exists() else []
    found = [line.rsplit(" ", 1)[1] for line in lines if line.startswith(f"{TOPIC} 0 ")]
    return int(found[0]) if found else 0


def active_base(partition: Path) -> int:
    return max(int(path.stem) for path in partition.glob("*.log"))


def is_cleaned(data_dir: Path) -> bool:
    try:
        return clean_until(data_dir) >= active_base(data_dir / f"{TOPIC}-0") > 0
    except FileNotFoundError:  # between two of the cleaner's renames
        return False


def answers(bootstrap: str, isolation: str) -> list[tuple[int, str, str | None]]:
    consumer = ck.Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"{TOPIC}-{isolation}",
            "isolation.level": isolation,
            "enable.partition.eof": True,
            "enable.auto.commit": False,
            **QUIET,
        }
    )
    consumer.assign([ck.TopicPartition(TOPIC, 0, 0)])
    found: list[tuple[int, str, str | None]] = []
    try:
        while (message := consumer.poll(30)) is not None:
            if (error := message.error()) is not None:
                assert error.code() == ck.KafkaError._PARTITION_EOF, error
                return found
            offset, key, value = message.offset(), message.key(), message.value()
            assert offset is not None
            assert key is not None
            found.append((offset, bytes(key).decode(), None if value is None else bytes(value).decode()))
        raise AssertionError("the end did not come")
    finally:
        consumer.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        kafka = KafkaProcess(Path(scratch) / "kafka", BROKER)
        kafka.start()
        try:
            admin = CK_ADMIN.AdminClient({"bootstrap.servers": kafka.bootstrap, **QUIET})
            topic = CK_ADMIN.NewTopic(TOPIC, 1, 1, config=SETTINGS)
            admin.create_topics([topic])[TOPIC].result(30)
            write(kafka.bootstrap, range(ROUNDS // 2))
            wait_until(lambda: is_cleaned(kafka.data_dir), "the first half is cleaned")
            before = sum(1 for _ in answers(kafka.bootstrap, "read_uncommitted"))
            write(kafka.bootstrap, range(ROUNDS // 2, ROUNDS))
            wait_until(lambda: is_cleaned(kafka.data_dir), "the second half is cleaned")
            expected = {level: answers(kafka.bootstrap, level) for level in ("read_committed", "read_uncommitted")}
            print(f"{before} records after the first half, {len(expected['read_uncommitted'])} after the second")
        finally:
            kafka.stop()
        partition = kafka.data_dir / f"{TOPIC}-0"
        shutil.rmtree(FIXTURE, ignore_errors=True)
        kept = FIXTURE / partition.name
        kept.mkdir(parents=True)
        for path in sorted(partition.iterdir()):
            if path.name.endswith(KEPT):
                shutil.copy(path, kept)
        lines = [
            line for line in (kafka.data_dir / "cleaner-offset-checkpoint").read_text().splitlines() if TOPIC in line
        ]
        checkpoint = "\n".join(["0", str(len(lines)), *lines, ""])
        (FIXTURE / "cleaner-offset-checkpoint").write_text(checkpoint)
        for level, found in expected.items():
            lines = [f"{offset}\t{key}\t{'-' if value is None else value}" for offset, key, value in found]
            (FIXTURE / f"{level}.tsv").write_text("\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
