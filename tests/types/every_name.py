"""A program that uses every public name of `ottla`, with what each gives written down for a type checker.

    python every_name.py DIRECTORY

`mypy --strict` reads it, and it runs: from the tree, and from an installed wheel. It needs nothing but Ottla.
"""

from __future__ import annotations

import array
import asyncio
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, assert_type

import ottla
from ottla.errors import InvalidInput, Reopen, Report, Retry


def written(log: ottla.Log) -> None:
    """Everything that changes a log."""
    assert_type(log.append(b"one"), int)
    log.append(memoryview(b"two"), key=bytearray(b"k"), headers={"a": b"1", "b": None}, timestamp=5, cursors={"r": 1})
    log.append(None, key=b"k", headers=[("a", b"1"), ("a", b"2")], wait=False)
    last = log.append_many(
        [b"v", None, (b"k", b"v"), (None, b"v", {"h": b"x"}), (b"k", None, None, 7), *log.read(0, 1)]
    )
    assert_type(last, int | None)
    log.append_many(iter([b"a", b"b"]), atomic=True, cursors={"r": 2}, wait=False)
    values = (b"onetwo", array.array("q", [0, 3, 6]))
    keys = (b"k", array.array("q", [0, 1, 1]), b"\0\1")
    assert_type(log.append_columns(values, keys=keys, timestamps=array.array("q", [1, 2]), wait=True), int | None)
    assert_type(log.sync(), None)
    assert_type(log.commit({"r": 3, "s": 0}), None)
    assert_type(log.cursor("r"), int | None)
    assert_type(log.forget_cursor("s"), bool)
    assert_type(log.truncate(log.end_offset), None)
    assert_type(log.delete_before(1), int)


def read(log: ottla.Log) -> None:
    """Everything that only looks."""
    for record in log.read(1, 3):
        assert_type(record, ottla.Record)
        assert_type((record.offset, record.timestamp), tuple[int, int])
        assert_type((record.key, record.value), tuple[bytes | None, bytes | None])
        assert_type((record.key_view, record.value_view), tuple[memoryview | None, memoryview | None])
        assert_type(record.headers, tuple[tuple[str, bytes | None], ...])
    records = log.read()
    assert_type(records, ottla.Records)
    assert_type(next(records), ottla.Record)
    assert_type(records.take_ready(), ottla.Record | None)
    assert_type(records.next_offset, int)
    arrival = log.follow_records(timeout_ms=0).arrival()
    assert_type(arrival.fileno(), int)
    assert_type(arrival.clear(), None)
    assert_type([record.offset for record in log], list[int])
    columns = log.read_columns(1, max_bytes=1 << 20)
    assert_type(columns, ottla.Columns)
    assert_type((columns.count, len(columns), columns.next_offset), tuple[int, int, int])
    assert_type((columns.offsets, columns.timestamps), tuple[memoryview, memoryview])
    assert_type(columns.keys, tuple[bytes, memoryview, bytes | None])
    assert_type(columns.values, tuple[bytes, memoryview, bytes | None])
    assert_type((log.start_offset, log.end_offset, log.readable_offset, log.durable_offset), tuple[int, int, int, int])
    assert_type(log.offset_at(0), int)
    assert_type((log.topic, log.read_only, log.closed), tuple[str, bool, bool])
    assert_type(log.status_values(), dict[str, Any])


def told(status: ottla.LogStatus) -> None:
    """Figures of a log."""
    assert_type((status.path, status.read_only, status.has_writer), tuple[str, bool, bool])
    assert_type((status.start_offset, status.end_offset, status.readable_offset), tuple[int, int, int])
    assert_type((status.durable_offset, status.segments, status.bytes), tuple[int, int, int])
    assert_type((status.unsynced_bytes, status.clean_start), tuple[int, bool | None])
    assert_type((status.offline, status.cursors), tuple[str | None, Mapping[str, int]])


async def followed(log: ottla.Log) -> list[int]:
    """Records as they come, in a thread and in an event loop."""
    follow = log.follow(1, timeout_ms=0)
    assert_type(follow, ottla.Follow)
    offsets = [record.offset for record in follow]
    assert_type(follow.next_offset, int)
    return offsets + [record.offset async for record in log.follow(1, timeout_ms=0)]


def as_arrow(log: ottla.Log) -> None:
    """Arrow's columns, if pyarrow is there."""
    try:
        reader = log.to_arrow(1, None)
    except InvalidInput as error:
        print(error, file=sys.stderr)
        return
    assert_type(log.append_arrow(reader, wait=False), int | None)
    try:
        log.to_arrow(json=True, unfit="raise")
    except ottla.UnfitValue as error:
        assert_type(error.offset, int)
    print(log.to_arrow(avro="bytes", unfit="null").schema.names)


def mistakes(log: ottla.Log, directory: Path) -> list[type[ottla.OttlaError]]:
    """Errors by what to do next; each kind is caught by its own name and by that of its family."""
    met: list[type[ottla.OttlaError]] = []
    try:
        log.read(log.end_offset + 1)
    except ottla.OffsetOutOfRange as error:
        assert_type((error.requested, error.start, error.end), tuple[int, int, int])
        met.append(ottla.OffsetOutOfRange)
    try:
        ottla.Log(directory)
    except ottla.DirectoryInUse:
        met.append(ottla.DirectoryInUse)
    try:
        ottla.Broker(config={"num.partitions": "none"})
    except ottla.ConfigError as error:
        assert_type(error.problems, tuple[str, ...])
        met.append(ottla.ConfigError)
    with ottla.Log(directory, topic=log.topic, read_only=True) as reader:
        try:
            reader.append(b"")
        except ottla.ReadOnly:
            met.append(ottla.ReadOnly)
    return met


FAMILIES: dict[type[ottla.OttlaError], tuple[type[ottla.OttlaError], ...]] = {
    Retry: (ottla.NoRoom,),
    InvalidInput: (
        *(ottla.ConfigError, ottla.OffsetOutOfRange, ottla.RecordTooLarge),
        *(ottla.ReadOnly, ottla.UnfitValue),
    ),
    Reopen: (
        *(ottla.Closed, ottla.Forked, ottla.Overtaken),
        *(ottla.DirectoryInUse, ottla.StorageError, ottla.NewerFormat),
    ),
    Report: (),
}


def served(directory: Path) -> str:
    """The directory of a log, behind a broker."""
    config = {"num.partitions": 2}
    broker = ottla.Broker(directory, listen="127.0.0.1:0", advertise=None, config=config, cluster_id=None)
    reasons: list[str] = []
    broker.on_failure = reasons.append
    assert_type(broker.start(), ottla.Broker)
    host, _, port = broker.bootstrap_servers.rpartition(":")
    socket.create_connection((host, int(port)), timeout=30).close()
    status = broker.status()
    assert_type(status, ottla.BrokerStatus)
    assert_type((status.node_id, status.cluster_id, status.bootstrap_servers), tuple[int, str, str])
    assert_type(status.listeners, tuple[tuple[str, str, int], ...])
    assert_type((status.data_dirs, status.clean_start), tuple[tuple[str, ...], bool])
    assert_type((status.failure, status.engine), tuple[str | None, Mapping[str, Any]])
    assert_type(status.server, Mapping[str, Any])
    assert_type((status.controller.topics, status.dispatcher.requests), tuple[int, int])
    assert_type((status.groups.failed_appends, status.transactions.failed_appends), tuple[int, int])
    try:
        broker.turn_clock(1)
    except Retry as error:
        reasons.append(str(error))
    assert_type(broker.stop(timeout_ms=1000), None)
    return f"{reasons}"


def main(directory: Path) -> None:
    """Use everything once."""
    with ottla.Log(
        directory,
        topic="orders",
        read_only=False,
        durability="os",
        segment_bytes=1 << 20,
        retention_ms=-1,
        retention_bytes=-1,
        compression="none",
        compacted=False,
        config={"max.message.bytes": "1048588"},
    ) as log:
        assert_type(log, ottla.Log)
        log.append(b"a sketch", key=b"k")
    with ottla.Log(directory, compacted=True) as log:
        log.append_many([(b"k", b"1"), (b"k", b"2")])
        assert_type(log.compact(), tuple[int, int])
    with ottla.Log(directory, compacted=False) as log:
        written(log)
        read(log)
        told(log.status())
        print(asyncio.run(followed(log)))
        as_arrow(log)
        print([error.__name__ for error in mistakes(log, directory)])
    log.close()
    print(ottla.__version__, all(issubclass(one, family) for family, each in FAMILIES.items() for one in each))
    print(served(directory))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
