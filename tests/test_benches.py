"""What the benchmark suite makes of its figures. The figures themselves are no matter of tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from benches import killed, recovery, storage
from benches.instructions import compare
from benches.meters import empty_page_cache
from benches.report import markdown
from tests.test_house import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def test_a_regression_is_more_than_the_tolerance() -> None:
    """2 % more instructions pass, 3 % do not; fewer always pass and are pointed out."""
    before = {"append": 10_000, "read": 10_000}
    lines, failed = compare(before, {"append": 10_199, "read": 9_000})
    assert not failed
    assert "+1.99 %" in lines[0]
    assert lines[1].endswith("less: --refresh keeps it")
    lines, failed = compare(before, {"append": 10_300, "read": 10_000})
    assert failed
    assert [line.endswith("more than the tolerance") for line in lines] == [True, False]


def test_a_bench_without_a_committed_count_fails() -> None:
    """A bench that vanished, or came, is not passed over."""
    lines, failed = compare({"append": 1, "read": 1}, {"append": 1})
    assert failed
    assert lines[1:] == ["read: only committed"]
    assert compare({}, {"append": 1}) == (["append: only counted now"], True)


def test_what_lies_past_a_recovery_point(tmp_path: Path) -> None:
    """Whole segments count, from the one that holds the recovery point on; without a checkpoint all of them."""
    folder = tmp_path / "recovery-0"
    for number in range(recovery.PARTITIONS):
        (tmp_path / f"recovery-{number}").mkdir()
    for base, size in ((0, 100), (50, 10), (70, 1)):
        (folder / f"{base:020}.log").write_bytes(bytes(size))
    assert recovery.past_recovery_point(tmp_path) == 111
    checkpoint = tmp_path / "recovery-point-offset-checkpoint"
    for point, expected in ((0, 111), (49, 111), (50, 11), (69, 11), (70, 1), (99, 1)):
        checkpoint.write_text(f"0\n1\nrecovery 0 {point}\n")
        assert recovery.past_recovery_point(tmp_path) == expected, point


def test_what_a_start_after_a_kill_took() -> None:
    """From the begin of the first scan to the end of the last; the threads' time is parted in scans and syncs."""
    says = (
        "INFO    server: recovered load-{} in {} ms, {} of them for syncs: scanned {} bytes in 1 segments, cut 0 bytes"
    )
    lines = [("12:00:01,500", says.format(0, 500, 100, 1000)), ("12:00:02,000", says.format(1, 800, 300, 500))]
    found = killed.recovery_of("\n".join(f"2026-01-01 {at} {line}" for at, line in lines), up_s=3.0)
    assert found == killed.Recovery(scanned_bytes=1500, took_s=1.0, scan_s=0.9, sync_s=0.4, up_s=3.0)
    assert killed.recovery_of("nothing was recovered", 3.0).scanned_bytes == 0


def test_what_the_brokers_say_of_a_start() -> None:
    """The lines are those of `rust/server/src/replica.rs` and of Kafka's LogManager."""
    ottla = (
        "INFO recovered a-0 in 300 ms, 100 of them for syncs: scanned 5 bytes in 1 segments, cut 0 bytes\n"
        "INFO recovered a-1 in 500 ms, 200 of them for syncs: scanned 5 bytes in 1 segments, cut 0 bytes\n"
    )
    assert recovery.logs_took(ottla) == {"logs_s": 0.4, "sync_s": 0.15}
    kafka = "INFO Loaded 10 logs in 1234ms (unclean log dirs = [x]) (org.apache.kafka.storage.internals.log.LogManager)"
    assert recovery.logs_took(kafka) == {"logs_s": 1.234}
    with pytest.raises(RuntimeError, match="no word of what was recovered"):
        recovery.logs_took("INFO started\n")


def test_page_cache_is_emptied_without_harm(tmp_path: Path) -> None:
    """Files keep what they hold, and a directory that is gone is no matter."""
    (tmp_path / "kept").write_bytes(b"records")
    assert empty_page_cache([tmp_path, tmp_path / "gone"])[0] == "sync"
    assert (tmp_path / "kept").read_bytes() == b"records"


def results(workload: dict[str, Any]) -> dict[str, Any]:
    """The raw results of a run of one workload."""
    return {
        "begun": "2026-01-01",
        "took_s": 1,
        "machine": {"cpu": "CPU", "cores": 2, "memory_gib": 4, "kernel": "6"},
        "clients": {"java": "JDK"},
        "peers": {"ottla": {"version": "1"}, "kafka": {"version": "2"}},
        "workloads": [workload],
    }


def test_every_program_of_the_storage_engine_has_its_rows() -> None:
    """Median and spread of each, beside its limit."""
    programs: dict[str, Any] = {
        "append_speed": {
            "about": {"batch_records": 64},
            "append": [
                {"append_mib_per_cpu_s": speed, "limit_mib_per_cpu_s": 3000, "ratio": 3000 / speed}
                for speed in (2000, 2500, 1000)
            ],
        },
        "group_commit_speed": {
            "about": {"appenders": 32, "sync_ms": 2},
            "group_commit": [{"alone_per_s": 450, "shared_per_s": 13500, "times": 30}],
        },
        "seek_speed": {
            "about": {},
            "seek": [
                {"segments": size, "offset_us": 3, "timestamp_us": 9, "read_page_us": 0.5} for size in (10, 100) * 2
            ],
        },
        "compaction_speed": {
            "about": {},
            "compaction": [
                {"dead_percent": 50, "mib_per_s": 300, "mib_per_cpu_s": 800, "limit_mib_per_cpu_s": 2400, "ratio": 3}
            ],
        },
        "recovery_speed": {
            "about": {"partitions": 10, "threads": 2},
            "recovery": [
                {
                    "gib_scanned": 2,
                    "scan_gib_per_s": 2.5,
                    "limit_scan_gib_per_s": 4,
                    "sync_s": 1,
                    "limit_sync_s": 1.1,
                }
            ],
            "idle_after_a_crash": [{"found": 1000, "open_s": 1, "resident_mib": 9, "descriptors": 8}],
        },
        "transactions_speed": {
            "about": {"transactions": 20000},
            **{
                ending: [{"first_us": 1, "alone_us": 2, "behind_open_us": 3, "read_tail_us": 0.5}]
                for ending in ("committed", "aborted")
            },
        },
    }
    assert programs.keys() == storage.PROGRAMS.keys()
    table = markdown(results({"workload": "storage", "programs": programs}))
    assert "| 2,000 (1,000 to 2,500) | 3,000 (3,000 to 3,000) | 1.50 (1.20 to 3.00) | <= 1.5 |" in table
    assert "| 13,500 (13,500 to 13,500) | 450 (450 to 450) | 30.0 (30.0 to 30.0) | >= 14 |" in table
    assert "| seek by timestamp, 100 segments, beside one read of 4 KiB: us | 9.00 (9.00 to 9.00) |" in table
    assert table.count("seek by ") == 4
    assert "50 % dead" in table
    assert "| recovery of 2 GiB in 10 partitions, scan beside CRC32C and read, 2 threads: GiB/s | 2.50" in table
    assert "| and after 20,000 behind one that stays open: us | 3.00 (3.00 to 3.00) |" in table
    assert "| 1000 idle partitions open after a crash | 1.00 s, 9 MiB, 8 descriptors |" in table


def test_the_large_form_knows_its_programs() -> None:
    """A program that was renamed is not silently run in its small form."""
    assert storage.LARGE.keys() <= storage.PROGRAMS.keys()
    examples = {path.stem for path in (ROOT / "rust" / "log" / "examples").glob("*_speed.rs")}
    assert examples == storage.PROGRAMS.keys()
