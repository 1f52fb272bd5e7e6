"""`ottla log`: the files of a log without a broker, whole ones and damaged ones."""

from __future__ import annotations

import json
import os
import shutil
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import ottla
from ottla.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable

FIXTURES = Path(__file__).resolve().parents[2] / "rust" / "log" / "tests" / "fixtures"
HEADER_BYTES = 61
SEGMENTS = {"internal.segment.bytes": "2000", "file.delete.delay.ms": "0"}


class Tool:
    """Runs `ottla log` in the process, and keeps what it said."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd
        self.code = 0
        self.err = ""

    def __call__(self, *arguments: object) -> str:
        """Give what was printed."""
        self.code = main(["log", *map(str, arguments)])
        captured = self._capfd.readouterr()
        self.err = captured.err
        return captured.out

    def ok(self, *arguments: object) -> str:
        """The same, if it must succeed."""
        out = self(*arguments)
        assert self.code == 0, (out, self.err)
        return out

    def failed(self, *arguments: object) -> str:
        """The same, if it must not; everything it said."""
        out = self(*arguments)
        assert self.code != 0, out
        return out + self.err


@pytest.fixture
def tool(capfd: pytest.CaptureFixture[str]) -> Tool:
    return Tool(capfd)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Sixty records, each a batch, in some segments; keys, headers and a tombstone among them."""
    with ottla.Log(tmp_path / "data", topic="orders", config=SEGMENTS) as log:
        for number in range(60):
            value = None if number == 7 else b"value %d" % number * 5
            log.append(value, key=b"%d" % (number % 5), headers={"n": b"%d" % number}, timestamp=1_000_000 + number)
    return tmp_path / "data"


def segments(data: Path) -> list[Path]:
    return sorted((data / "orders-0").glob("*.log"))


def places(path: Path) -> list[int]:
    """Where the batches of a whole log file begin, and its end."""
    found, content = [0], path.read_bytes()
    while found[-1] < len(content):
        (length,) = struct.unpack_from(">i", content, found[-1] + 8)
        found.append(found[-1] + 12 + length)
    return found


def values(data: Path) -> list[tuple[int, bytes | None]]:
    with ottla.Log(data) as log:
        return [(record.offset, record.value) for record in log.read()]


def overwrite(path: Path, at: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)


def test_dump(tool: Tool, data: Path) -> None:
    """Every record on a line, from any offset on; batches by their headers."""
    lines = tool.ok("dump", data, "-t", "orders").splitlines()
    assert len(lines) == 60
    assert lines[0] == 'orders-0 0 1970-01-01T00:16:40.000Z "0" "value 0value 0value 0value 0value 0" n="0"'
    assert lines[7].endswith('"2" null n="7"')
    assert tool.ok("dump", data / "orders-0", "--offset", 55).splitlines() == lines[55:]
    assert tool.ok("dump", data / "orders-0", "-n", 3, "-o", 10).splitlines() == lines[10:13]
    batches = tool.ok("dump", data / "orders-0", "--batches", "-o", 30).splitlines()
    assert len(batches) == 30
    assert batches[0].startswith("orders-0 30-30 at ")
    assert ": 1 records, " in batches[0]


def test_dump_as_json(tool: Tool, data: Path) -> None:
    """What is consumed with --json looks the same."""
    first, *_, last = (json.loads(line) for line in tool.ok("dump", data, "-t", "orders", "--json").splitlines())
    assert (first["topic"], first["partition"], first["offset"], last["offset"]) == ("orders", 0, 0, 59)
    assert (first["key"], first["headers"]) == ("0", [{"name": "n", "value": "0"}])
    batch = json.loads(tool.ok("dump", data / "orders-0", "--json", "--batches", "-n", 1))
    assert (batch["base_offset"], batch["count"], batch["compression"]) == (0, 1, "none")


def test_verify_finds_nothing_wrong(tool: Tool, data: Path) -> None:
    """In a log that was closed, and in one that is being written."""
    length = sum(path.stat().st_size for path in segments(data))
    said = tool.ok("verify", data, "--topic", "orders")
    assert said == f"orders-0: {len(segments(data))} segments, 60 records, {length} bytes: nothing wrong\n"
    with ottla.Log(data) as log:
        log.append(b"one more")
        (report,) = json.loads(tool.ok("verify", data, "--topic", "orders", "--json"))
        assert (report["findings"], report["records"]) == ([], 61)


def flip(path: Path, at: int) -> None:
    overwrite(path, at, bytes([path.read_bytes()[at] ^ 1]))


def damage_value(data: Path) -> None:
    """A bit in the middle of the second batch of the first segment."""
    first = segments(data)[0]
    flip(first, places(first)[1] + HEADER_BYTES + 20)


def damage_length(data: Path) -> None:
    """A length that reaches past the segment."""
    first = segments(data)[0]
    overwrite(first, places(first)[1] + 8, b"\x00\xff\xff\xff")


def tear(data: Path) -> None:
    """The last batch is cut."""
    last = segments(data)[-1]
    with last.open("r+b") as file:
        file.truncate(places(last)[-1] - 5)


def zeroes(data: Path) -> None:
    """A file system gave the file its length, and not its content."""
    with segments(data)[-1].open("ab") as file:
        file.write(bytes(4096))


def wrong_index(data: Path) -> None:
    """An entry names a place where no batch begins."""
    (data / "orders-0" / "00000000000000000000.index").write_bytes(struct.pack(">ii", 3, 7))


def wrong_time_index(data: Path) -> None:
    """An entry says that all records are older than one of them is."""
    (data / "orders-0" / "00000000000000000000.timeindex").write_bytes(struct.pack(">qi", 1_000_001, 5))


def wrong_snapshot(data: Path) -> None:
    """A snapshot of producers whose checksum is wrong."""
    path = next((data / "orders-0").glob("*.snapshot"))
    path.write_bytes(b"\x00" + path.read_bytes()[1:-1] + b"\x55\x55")


def wrong_epochs(data: Path) -> None:
    """A checkpoint that knows nothing of the epoch of the batches."""
    (data / "orders-0" / "leader-epoch-checkpoint").write_text("0\n1\n7 3\n")


def leftover(data: Path) -> None:
    """A file that a crash kept from being removed."""
    (data / "orders-0" / "00000000000000000000.log.deleted").write_bytes(b"x")


DAMAGE = [
    (damage_value, "damaged-batch", {1}),
    (damage_length, "damaged-batch", {1}),
    (tear, "torn-tail", {59}),
    (zeroes, "torn-tail", set[int]()),
    (wrong_index, "offset-index", set[int]()),
    (wrong_time_index, "time-index", set[int]()),
    (wrong_snapshot, "producer-snapshot", set[int]()),
    (wrong_epochs, "leader-epochs", set[int]()),
    (leftover, "leftover", set[int]()),
]


@pytest.mark.parametrize("damage, kind, lost", DAMAGE, ids=[damage.__name__ for damage, *_ in DAMAGE])
def test_what_is_damaged_is_found_and_mended(
    tool: Tool, data: Path, damage: Callable[[Path], None], kind: str, lost: set[int]
) -> None:
    """It is named with its file; nothing changes until --yes; after that nothing is wrong, and no other record is gone,
    also not where the next start is one after a crash.
    """
    whole = dict(values(data))
    damage(data)
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    assert kind in tool.failed("verify", data)
    (report,) = json.loads(tool.failed("verify", data, "-t", "orders", "--json"))
    assert {finding["kind"] for finding in report["findings"]} == {kind}
    assert "would " in tool.ok("repair", data)
    after = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    assert {path: content for path, content in after.items() if path.name != ".lock"} == {
        path: content for path, content in before.items() if path.name != ".lock"
    }
    assert "orders-0: " in tool.ok("repair", data, "--yes")
    assert "nothing wrong" in tool.ok("verify", data)
    assert tool.ok("repair", data) == "nothing to mend\n"
    left = {offset: value for offset, value in whole.items() if offset not in lost}
    assert dict(values(data)) == left
    with ottla.Log(data) as log:
        assert log.append(b"on") == 60 if 59 not in lost else 59


def test_damage_in_the_segment_that_is_written(tool: Tool, data: Path) -> None:
    """A start after a crash would cut the log there; mended before, it keeps what lies behind."""
    last = segments(data)[-1]
    whole = dict(values(data))
    last = segments(data)[-1]
    flip(last, places(last)[0] + HEADER_BYTES + 20)
    assert "damaged-batch" in tool.failed("verify", data)
    tool.ok("repair", data, "--yes")
    shutil.copytree(data, copy := data.with_name("copy"))
    lost = int(last.stem)
    assert dict(values(copy)) == {offset: value for offset, value in whole.items() if offset != lost}


def test_dump_goes_on_behind_damage(tool: Tool, data: Path) -> None:
    """It says where it is and prints the rest; export does not hide that something is missing."""
    damage_value(data)
    out = tool.failed("dump", data / "orders-0")
    assert "cannot be read: checksum" in out
    assert out.count("orders-0 ") == 60
    assert "is damaged" in tool.failed("export", data / "orders-0")


@pytest.mark.parametrize("name", ["orders.jsonl", "orders.parquet"])
def test_half_an_export_has_no_name(tool: Tool, data: Path, tmp_path: Path, name: str) -> None:
    """Where it fails half-way there is no file, or the one that was there."""
    pytest.importorskip("pyarrow")
    (tmp_path / "to").mkdir()
    damage_value(data)
    target = tmp_path / "to" / name
    assert "is damaged" in tool.failed("export", data / "orders-0", "--to", target)
    assert list(target.parent.iterdir()) == []
    target.write_text("of yesterday")
    assert "is damaged" in tool.failed("export", data / "orders-0", "--to", target)
    assert [path.read_text() for path in target.parent.iterdir()] == ["of yesterday"]


def test_an_export_is_on_the_disk_before_it_has_its_name(
    tool: Tool, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut leaves no file of that name that is empty; a file beside it, of whatever name, stays as it was."""
    (tmp_path / "orders.jsonl.part").write_text("mine")
    steps: list[str] = []
    sync, replace = os.fsync, Path.replace

    def synced(fd: int) -> None:
        sync(fd)
        steps.append(f"{os.fstat(fd).st_size} synced")

    def replaced(self: Path, target: str | Path) -> Path:
        steps.append(f"{self.stat().st_size} named")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    tool.ok("export", data / "orders-0", "--to", tmp_path / "orders.jsonl")
    size = (tmp_path / "orders.jsonl").stat().st_size
    assert steps == [f"{size} synced", f"{size} named"]
    assert (tmp_path / "orders.jsonl.part").read_text() == "mine"


def test_repair_needs_the_directory_for_itself(tool: Tool, data: Path) -> None:
    """A log that is open, or a broker, is not mended under its feet; looking is allowed."""
    with ottla.Log(data):
        assert "in use" in tool.failed("repair", data)
        assert "nothing wrong" in tool.ok("verify", data)
    with ottla.Broker(data_dir=data):
        assert "in use" in tool.failed("repair", data, "--yes")
        assert len(tool.ok("dump", data, "-t", "orders").splitlines()) == 60


@pytest.mark.parametrize("place, partitions", [("kafka-4.3.1", 1), ("kafka-4.3.1-compacted", 1), ("ottla-format-1", 3)])
def test_directories_of_kafka_and_of_earlier_versions(tool: Tool, place: str, partitions: int) -> None:
    """Nothing is wrong with what Apache Kafka wrote, compacted too, nor with a log that begins elsewhere by now."""
    verdicts = tool.ok("verify", FIXTURES / place).splitlines()
    assert len(verdicts) == partitions
    assert all(line.endswith("nothing wrong") for line in verdicts)


@pytest.mark.parametrize("isolation", ["read_committed", "read_uncommitted"])
def test_export_gives_what_kafka_gives_a_consumer(tool: Tool, isolation: str) -> None:
    """Offset, key and value of each record, of committed, aborted and compacted ones in every codec."""
    place = FIXTURES / "kafka-4.3.1-compacted"
    expected = [line.split("\t") for line in (place / f"{isolation}.tsv").read_text().splitlines()]
    flags = ["--read-uncommitted"] if isolation == "read_uncommitted" else []
    lines = [json.loads(line) for line in tool.ok("export", place / "compacted-0", *flags).splitlines()]
    # A tombstone stands there as a dash.
    assert [[str(line["offset"]), line["key"], line["value"] or "-"] for line in lines] == expected


def test_stats(tool: Tool, data: Path) -> None:
    """Counts of a partition, for people and for programs."""
    header, row = tool.ok("stats", data, "-t", "orders").splitlines()
    assert header.split()[:4] == ["TOPIC", "PARTITION", "SEGMENTS", "OFFSETS"]
    assert row.split()[:2] == ["orders", "0"]
    assert row.split()[3:5] == ["0-59", "60"]
    (told,) = json.loads(tool.ok("stats", data, "-t", "orders", "--json"))
    assert (told["records"], told["null_values"], told["compression"]) == (60, 1, {"none": 60})
    assert (told["min_timestamp"], told["max_timestamp"]) == (1_000_000, 1_000_059)
    assert len(told["segments"]) == len(segments(data))


def test_export_and_import(tool: Tool, data: Path, tmp_path: Path) -> None:
    """What was exported and imported again is the same but for its offsets."""
    with ottla.Log(data) as log:
        log.append(b"\xff\x00", key=b"\xfe", headers=[("h", b"\xfd"), ("h", None)])
        log.delete_before(50)
        whole = [(r.timestamp, r.key, r.value, r.headers) for r in log.read()]
    tool.ok("export", data, "-t", "orders", "--to", tmp_path / "orders.jsonl")
    tool.ok("import", tmp_path / "orders.jsonl", tmp_path / "copy", "--compression", "zstd")
    with ottla.Log(tmp_path / "copy") as log:
        assert [(r.timestamp, r.key, r.value, r.headers) for r in log.read()] == whole
        assert log.start_offset == 0
    assert "line 1 of" in tool.failed("import", data / "meta.properties", tmp_path / "copy")


def test_import_as_json(tool: Tool, tmp_path: Path) -> None:
    """What it did, for programs: also when it ends at a line that cannot be read."""
    (tmp_path / "some.jsonl").write_text('{"value":"a"}\n{"value":"b"}\n')
    (tmp_path / "none.jsonl").touch()
    (tmp_path / "wrong.jsonl").write_text('{"value":"c"}\n{\n')
    words = ("import", "--json", "--topic", "orders")
    told = {"topic": "orders", "partition": 0, "records": 2, "first_offset": 0, "next_offset": 2}
    assert json.loads(tool.ok(*words, tmp_path / "some.jsonl", tmp_path / "copy")) == told
    assert tool.err == ""
    told |= {"records": 0, "first_offset": None}
    assert json.loads(tool.ok(*words, tmp_path / "none.jsonl", tmp_path / "copy")) == told
    told |= {"records": 1, "first_offset": 2, "next_offset": 3}
    assert json.loads(tool(*words, tmp_path / "wrong.jsonl", tmp_path / "copy")) == told
    assert tool.code != 0
    assert "line 2 of" in tool.err


def test_records_that_carry_cursors_are_exported_without(tool: Tool, tmp_path: Path) -> None:
    """A position stands in the log it was committed to: the records go on without it, in either form."""
    with ottla.Log(tmp_path / "orders") as log:
        log.append(b"v", headers={"h": b"1"}, cursors={"c": 1})
    for form in ("jsonl", "parquet"):
        target = tmp_path / f"orders.{form}"
        tool.ok("export", tmp_path / "orders" / "orders-0", "--to", target)
        tool.ok("import", target, tmp_path / f"copy-{form}")
        with ottla.Log(tmp_path / f"copy-{form}") as copy:
            assert [(record.value, record.headers) for record in copy.read()] == [(b"v", (("h", b"1"),))]
            assert copy.cursor("c") is None


def test_import_ends_at_a_line_that_cannot_be_read(tool: Tool, tmp_path: Path) -> None:
    """What came before it was appended, and the error names the line."""
    lines = [json.dumps({"value": f"v{number}"}) for number in range(5)]
    (tmp_path / "some.jsonl").write_text("\n".join([*lines, "{broken", *lines]))
    assert "line 6 of" in tool.failed("import", tmp_path / "some.jsonl", tmp_path / "copy")
    with ottla.Log(tmp_path / "copy") as copy:
        assert [record.value for record in copy.read()] == [b"v%d" % number for number in range(5)]


def test_a_newer_format_is_not_looked_at(tool: Tool, data: Path) -> None:
    """By the old rules it would be damage, and be cut: it is refused, and every byte stays."""
    properties = data / "meta.properties"
    properties.write_text(properties.read_text().replace("ottla.format=1", "ottla.format=999"))
    before = {path: path.read_bytes() for path in sorted(data.rglob("*")) if path.is_file()}
    for words in (("verify",), ("repair", "--yes"), ("stats",), ("dump",), ("export", "-t", "orders")):
        for place in (data, data / "orders-0"):
            assert "ottla.format=999" in tool.failed(words[0], place, *words[1:])
    assert {path: path.read_bytes() for path in sorted(data.rglob("*")) if path.is_file()} == before


def test_export_to_parquet(tool: Tool, data: Path, tmp_path: Path) -> None:
    """The same by way of columns."""
    parquet = pytest.importorskip("pyarrow.parquet")
    target = tmp_path / "orders.parquet"
    tool.ok("export", data / "orders-0", "--to", target, "--offset", 5, "--end-offset", 9)
    table = parquet.read_table(target)
    assert table.column("offset").to_pylist() == [5, 6, 7, 8]
    assert table.column("value").to_pylist()[2] is None
    tool.ok("import", target, tmp_path / "copy")
    with ottla.Log(data) as one, ottla.Log(tmp_path / "copy") as other:
        fields = [[(r.timestamp, r.key, r.value, r.headers) for r in log] for log in (one, other)]
        assert fields[0][5:9] == fields[1]


def test_places_that_hold_no_log(tool: Tool, tmp_path: Path, data: Path) -> None:
    """The error says what to name."""
    (tmp_path / "empty").mkdir()
    assert "holds no partition" in tool.failed("dump", tmp_path / "empty")
    assert "there are __cluster_metadata-0, orders-0" in tool.failed("verify", data, "-t", "nothing")
    assert "say which" in tool.failed("export", data)
    assert "does not exist" in tool.failed("stats", tmp_path / "nowhere")
    (tmp_path / "file").touch()
    assert "is no directory" in tool.failed("stats", tmp_path / "file")
    assert "no file" in tool.failed("import", tmp_path / "nowhere.jsonl", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_transactions_that_were_aborted_are_not_exported(tool: Tool, tmp_path: Path) -> None:
    """Unless they are asked for; dump shows all, and what ended them."""
    from confluent_kafka import Producer

    with ottla.Broker(data_dir=tmp_path / "d") as broker:
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "transactional.id": "t"})
        producer.init_transactions()
        for word, commits in ((b"a", True), (b"lost", False), (b"b", True)):
            producer.begin_transaction()
            producer.produce("orders", word)
            producer.flush()
            (producer.commit_transaction if commits else producer.abort_transaction)()
    kept = [json.loads(line)["value"] for line in tool.ok("export", tmp_path / "d" / "orders-0").splitlines()]
    assert kept == ["a", "b"]
    everything = tool.ok("export", tmp_path / "d" / "orders-0", "--read-uncommitted").splitlines()
    assert [json.loads(line)["value"] for line in everything] == ["a", "lost", "b"]
    assert len(tool.ok("dump", tmp_path / "d" / "orders-0").splitlines()) == 6
    assert "nothing wrong" in tool.ok("verify", tmp_path / "d" / "orders-0")
