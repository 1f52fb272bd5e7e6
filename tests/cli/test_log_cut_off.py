"""`ottla log` where a compaction was cut off: at each of its renames, with an aborted transaction among the records."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
from confluent_kafka import Producer

import ottla
from ottla.embed import files
from tests.cli.test_log import Tool, tool

__all__ = ["tool"]

KINDS = ("log", "index", "timeindex", "txnindex")
SMALL = {"internal.segment.bytes": "2000", "file.delete.delay.ms": "0"}
LARGE = SMALL | {"internal.segment.bytes": "1000000"}
# Of the replacement's files, after which it counts.
COMMITTED = len(KINDS)

Records = list[tuple[int, bytes | None]]


class Pass(NamedTuple):
    """A pass of compaction."""

    # Data directories without it, and with it.
    before: Path
    after: Path
    # What it renames in the directory of the partition, in order.
    renames: list[tuple[str, str]]
    # What a reader gets of either.
    old: Records
    new: Records


def values(data: Path) -> Records:
    with ottla.Log(data, topic="orders") as log:
        return [(record.offset, record.value) for record in log.read()]


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Pass:
    """A pass that makes one segment of several, and its steps: those of `rust/log/src/compaction/swap.rs`."""
    folder = tmp_path_factory.mktemp("pass")
    data, before, after = folder / "data", folder / "before", folder / "after"
    with ottla.Log(data, topic="orders", compacted=True, config=SMALL) as log:
        for number in range(30):
            log.append(b"value %d" % number * 9, key=b"%d" % (number % 4))
    with ottla.Broker(data_dir=data) as broker:
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "transactional.id": "t"})
        producer.init_transactions()
        for word, commits in ((b"committed", True), (b"aborted", False)):
            producer.begin_transaction()
            for key in (b"1", b"2"):
                producer.produce("orders", word, key=key)
            producer.flush()
            (producer.commit_transaction if commits else producer.abort_transaction)()
    with ottla.Log(data, topic="orders") as log:
        for number in range(30, 60):
            log.append(b"value %d" % number * 9, key=b"%d" % (number % 4 + 2))
    with ottla.Log(data, topic="orders", config=LARGE):
        pass
    shutil.copytree(data, before)
    with ottla.Log(data, topic="orders") as log:
        log.compact()
    shutil.copytree(data, after)
    for each in (before, after):
        (each / ".kafka_cleanshutdown").unlink()
    old, new = ({path.name for path in (each / "orders-0").glob("*.log")} for each in (before, after))
    first, *others = sorted(old)
    empty = new - {first}
    assert len(others) > 2
    assert [path.stat().st_size for path in (after / "orders-0").iterdir() if path.name in empty] == [0]
    base = first.removesuffix(".log")
    # As the roll before the pass left it.
    for name in empty:
        for path in (after / "orders-0").glob(name.removesuffix("log") + "*"):
            shutil.copy(path, before / "orders-0")
    for kind in KINDS:
        made = after / "orders-0" / f"{base}.{kind}"
        target = before / "orders-0" / f"{base}.{kind}.cleaned"
        shutil.copy(made, target) if made.exists() else target.touch()
    gone = [
        name.removesuffix("log") + kind
        for name in others
        for kind in KINDS
        if (before / "orders-0" / (name.removesuffix("log") + kind)).exists()
    ]
    renames = [
        *((f"{base}.{kind}.cleaned", f"{base}.{kind}.swap") for kind in KINDS),
        *((name, f"{name}.deleted") for name in gone),
        *((f"{base}.{kind}.swap", f"{base}.{kind}") for kind in KINDS),
    ]
    shutil.copytree(before, folder / "copy")
    found = values(folder / "copy")
    assert b"committed" in dict(found).values()
    assert b"aborted" not in dict(found).values()
    return Pass(before, after, renames, found, values(data))


def cut_off(one: Pass, count: int, target: Path) -> Path:
    """The data directory after so many of its renames."""
    shutil.copytree(one.before, target)
    for old, new in one.renames[:count]:
        (target / "orders-0" / old).replace(target / "orders-0" / new)
    return target


def exported(tool: Tool, data: Path) -> Records:
    lines = [json.loads(line) for line in tool.ok("export", data / "orders-0").splitlines()]
    return [(line["offset"], None if line["value"] is None else line["value"].encode()) for line in lines]


def test_the_pass_has_all_steps(one: Pass) -> None:
    """Records went, and those of the aborted transaction are in no view."""
    assert len(one.new) < len(one.old)
    assert any(name.endswith("txnindex") for name, _ in one.renames[COMMITTED:-COMMITTED])


def test_readers_see_what_an_opening_would_leave(one: Pass, tool: Tool, tmp_path: Path) -> None:
    """All of the old segments or all of the new one, after each rename; nothing is changed by it."""
    for count in range(len(one.renames) + 1):
        data = cut_off(one, count, tmp_path / str(count))
        wanted = one.new if count >= COMMITTED else one.old
        before = {path.name: path.read_bytes() for path in (data / "orders-0").iterdir()}
        assert exported(tool, data) == wanted, count
        dumped = tool.ok("dump", data / "orders-0", "--batches").splitlines()
        (told,) = json.loads(tool.ok("stats", data / "orders-0", "--json"))
        assert (told["batches"], told["segments"][0]["base_offset"]) == (len(dumped), 0), count
        said = tool.failed("verify", data / "orders-0", "--json")
        (report,) = json.loads(said[: said.rindex("]") + 1])
        assert {finding["kind"] for finding in report["findings"]} <= {"compaction", "leftover"}, (count, report)
        assert {path.name: path.read_bytes() for path in (data / "orders-0").iterdir()} == before, count
        assert values(data) == wanted, count


def test_repair_does_what_an_opening_would(one: Pass, tool: Tool, tmp_path: Path) -> None:
    """Nothing is wrong after it, and none is read that was aborted, also not by who opens the log after that."""
    for count in range(len(one.renames) + 1):
        data = cut_off(one, count, tmp_path / str(count))
        wanted = one.new if count >= COMMITTED else one.old
        verb = "take back" if count < COMMITTED else "finish"
        is_done = count == len(one.renames)
        assert (f"would {verb} the compaction of segment 0" in tool.ok("repair", data / "orders-0")) != is_done, count
        tool.ok("repair", data / "orders-0", "--yes")
        assert "nothing wrong" in tool.ok("verify", data / "orders-0"), count
        assert exported(tool, data) == wanted, count
        assert values(data) == wanted, count
        assert "nothing wrong" in tool.ok("verify", data / "orders-0"), count


def test_a_replacement_that_is_damaged(one: Pass, tool: Tool, tmp_path: Path) -> None:
    """It does not count while what it was made from is there, and goes."""
    data = cut_off(one, COMMITTED, tmp_path / "data")
    (swapped,) = (data / "orders-0").glob("*.log.swap")
    content = bytearray(swapped.read_bytes())
    content[len(content) // 2] ^= 1
    swapped.write_bytes(content)
    assert "does not count" in tool.failed("verify", data / "orders-0")
    assert exported(tool, data) == one.old
    tool.ok("repair", data / "orders-0", "--yes")
    assert "nothing wrong" in tool.ok("verify", data / "orders-0")
    assert values(data) == one.old


def test_a_replacement_without_what_it_replaces(one: Pass, tool: Tool, tmp_path: Path) -> None:
    """A directory in which the first segment has only its new name is one of a partition."""
    data = cut_off(one, len(one.renames) - len(KINDS), tmp_path / "data")
    for path in (data / "orders-0").glob("*.log"):
        path.unlink()
    (each,) = files.find(data / "orders-0")
    assert [segment.base_offset for segment in files.verify(each).segments] == [0]
    assert exported(tool, data) == one.new
