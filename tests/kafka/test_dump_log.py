"""Kafka's own tool reads every file that the broker wrote under real clients."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from tests.clients.drivers import DRIVERS, Rec, read
from tests.conftest import MakeBroker
from tests.kafka import refresh_dumps
from tests.kafka.dump import COMPLAINTS, by_file, dump, files_of

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
NOISE = random.Random(3)  # no codec makes it smaller, so that segments fill


def write_with_clients(make_broker: MakeBroker, topic: str) -> Path:
    """Four segments of records in every codec by both clients, a group with a commit; the broker stopped. The data
    directory.
    """
    broker = make_broker()
    librdkafka, python = DRIVERS["librdkafka"](broker.bootstrap), DRIVERS["kafka-python"](broker.bootstrap)
    librdkafka.create_topic(topic, 2, configs={"segment.bytes": str(1 << 20), "index.interval.bytes": "1024"})
    for codec in CODECS:
        records = [Rec(NOISE.randbytes(1024), f"{codec} {number}".encode()) for number in range(700)]
        for start in range(0, 700, 100):  # a batch each: an index has an entry at most per batch
            librdkafka.produce(topic, records[start : start + 100], codec=codec, idempotent=start == 0)
        python.produce(
            topic, [Rec(each.value, each.key, (("h", b"1"), ("h", b"")), partition=1) for each in records[:50]]
        )
    member = python.member(topic, topic)
    try:
        read(member, 5 * 700 + 5 * 50)
        member.commit(topic, {0: 3500, 1: 7})
    finally:
        member.close()
    broker.stop()
    return broker.data_dir


@pytest.mark.kafka
def test_dump_log_segments_reads_every_file(make_broker: MakeBroker, unique: str) -> None:
    """No complaint about any .log, .index, .timeindex, .txnindex, .snapshot or metadata file; the offsets are all there
    once.
    """
    data_dir = write_with_clients(make_broker, unique)
    partitions = [path for path in sorted(data_dir.iterdir()) if path.is_dir() and files_of(path)]
    texts = dump(partitions)
    for option, text in texts.items():
        complaints = [line for line in text.splitlines() if COMPLAINTS.search(line) and "isvalid: true" not in line]
        assert not complaints, f"{option}: " + "\n".join(complaints[:20])
    files: dict[str, str] = {}
    for text in texts.values():
        files |= by_file(text)
    assert set(files) == {"/".join(path.parts[-2:]) for each in partitions for path in files_of(each)}

    mine = {name: text for name, text in sorted(files.items()) if name.startswith(f"{unique}-0/")}
    logs = [text for name, text in mine.items() if name.endswith(".log")]
    assert len(logs) >= 2, "the log has rolled"
    offsets = [int(found) for text in logs for found in re.findall(r"^\| offset: (\d+)", text, re.MULTILINE)]
    assert offsets == list(range(3500))
    for suffix, pattern in ((".index", r"^offset: \d+ position: \d+"), (".timeindex", r"^timestamp: \d+ offset: \d+")):
        rolled = [text for name, text in mine.items() if name.endswith(suffix)][:-1]
        assert rolled, suffix
        assert any(re.search(pattern, text, re.MULTILINE) for text in rolled), f"a rolled {suffix} has entries"
    snapshots = "".join(text for name, text in mine.items() if name.endswith(".snapshot"))
    assert re.search(r"^producerId: \d+ producerEpoch: 0 ", snapshots, re.MULTILINE)

    metadata = texts["--cluster-metadata-decoder"]
    assert f'"name":"{unique}"' in metadata
    for kind in ("FEATURE_LEVEL_RECORD", "REGISTER_BROKER_RECORD", "TOPIC_RECORD", "PARTITION_RECORD", "CONFIG_RECORD"):
        assert f'"type":"{kind}"' in metadata, kind
    assert re.search(rf'"topic":"{unique}","partition":0.*"offset":3500', texts["--offsets-decoder"])


@pytest.mark.kafka
def test_the_tool_says_what_is_kept_of_it() -> None:
    """What rust/log compares its reader with (its test dump_log_segments) is what the tool says of the same files."""
    assert len(refresh_dumps.partitions()) >= 4
    for partition in refresh_dumps.partitions():
        assert refresh_dumps.text_of(partition) == refresh_dumps.kept_in(partition).read_text(), partition
