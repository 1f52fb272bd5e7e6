"""Ctrl-C while a log is busy is heard soon, nothing is lost by it, and other threads go on meanwhile."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

import ottla

if TYPE_CHECKING:
    from pathlib import Path

# Ctrl-C comes while `work` runs, by the signal of a timer. The call is made from C: heard only behind it, the signal
# would find that it had ended.
PROGRAM = """
import array, collections, functools, itertools, os, signal, sys
import ottla

signal.signal(signal.SIGALRM, signal.default_int_handler)
ended = []
log = ottla.Log(sys.argv[1], {settings})
{prepare}
work = functools.partial({work})
try:
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    ended.extend(itertools.starmap(work, [()]))
except KeyboardInterrupt:
    print("too late" if ended else "interrupted")
signal.setitimer(signal.ITIMER_REAL, 0)
{after}
log.append(b"after", key=b"k")
log.close()
"""


def interrupted(
    place: Path, work: str, *, settings: str = "", prepare: str = "", after: str = "", by: tuple[str, ...] = ()
) -> None:
    program = PROGRAM.format(settings=settings, prepare=prepare, work=work, after=after)
    command = [*by, sys.executable, "-c", program, str(place)]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "interrupted\n", "")
    with ottla.Log(place) as log:
        assert log.status().clean_start
        *_, last = log.read(log.end_offset - 1)
        assert last.value == b"after"


def test_an_atomic_batch_without_end(tmp_path: Path) -> None:
    """Not a single instruction of Python is run by such an iterable; nothing of it is appended."""
    interrupted(
        tmp_path / "d",
        "log.append_many, itertools.repeat(b''), atomic=True",
        after="assert log.end_offset == 0",
    )


def test_records_without_end(tmp_path: Path) -> None:
    """The batches before stay."""
    interrupted(
        tmp_path / "d",
        "log.append_many, itertools.repeat(b'v' * 100)",
        settings="durability='os'",
        after="assert log.end_offset > 0",
    )


def test_a_batch_that_is_packed(tmp_path: Path) -> None:
    """It is packed to its end, for nobody."""
    interrupted(
        tmp_path / "d",
        "log.append, value",
        settings="compression='gzip'",
        prepare="value = os.urandom(1 << 20) * 200",
        after="assert log.end_offset == 0",
    )


def test_appended_columns(tmp_path: Path) -> None:
    """The batches before stay, in order."""
    interrupted(
        tmp_path / "d",
        "log.append_columns, (data, places)",
        settings="compression='gzip'",
        prepare="""
data = os.urandom(100_000_000)
places = array.array('q', range(0, 100_000_001, 1000))
""",
        after="""
assert 0 < log.end_offset < 100_000, log.end_offset
for number, record in enumerate(log.read()):
    assert record.value == data[number * 1000:number * 1000 + 1000]
""",
    )


@pytest.mark.parametrize("work", ["log.read_columns, max_bytes=1 << 40", "collections.deque, log.read(), 0"])
def test_records_that_are_read(tmp_path: Path, work: str) -> None:
    """Nothing comes of it, be it columns or what a loop in C takes."""
    interrupted(
        tmp_path / "d",
        work,
        settings="compression='gzip', durability='os'",
        prepare="for _ in range(500): log.append_many([bytes(1 << 20)])",
        after="assert log.read_columns(max_bytes=1).next_offset == 1",
    )


def test_a_compaction(tmp_path: Path) -> None:
    """What it had put in place stays, and all keys are there."""
    interrupted(
        tmp_path / "d",
        "log.compact",
        settings="durability='os', compacted=True, segment_bytes=8 << 20",
        prepare="log.append_many((b'%d' % (number % 1_000_000), b'v') for number in range(2_000_000))",
        after="assert len({record.key for record in log.read()}) == 1_000_000",
    )


@pytest.mark.skipif(shutil.which("strace") is None and os.environ.get("CI") != "true", reason="strace is not installed")
@pytest.mark.parametrize("work, durability", [("log.sync", "os"), ("log.append, b'v'", "fsync")])
def test_a_sync_that_the_disk_does_not_end(tmp_path: Path, work: str, durability: str) -> None:
    """The wait ends at once; the sync goes on, and what was appended is there."""
    place = tmp_path / "d"
    name = str(place / "d-0" / f"{0:020}.log")
    # The second is what files have that do without what Linux alone has.
    syncs = "fdatasync,fsync"
    stalled = ["-P", name, "-e", f"trace={syncs}", "-e", f"inject={syncs}:delay_enter=2s:when=1"]
    interrupted(
        place,
        work,
        settings=f"durability={durability!r}",
        prepare="log.append(b'v', wait=False)",
        after="assert log.durable_offset < log.end_offset",
        by=("strace", "-f", "-qq", "-o", str(tmp_path / "trace"), *stalled),
    )


# The larger one is packed by a thread of its own.
@pytest.mark.parametrize("size_bytes", [3_000_000, 6_000_000])
def test_other_threads_go_on_while_a_batch_is_packed(tmp_path: Path, size_bytes: int) -> None:
    """That takes seconds; in a fraction of one another thread counts."""
    slow = {"compression.zstd.level": "19"}
    with ottla.Log(tmp_path / "d", compression="zstd", durability="os", config=slow) as log:
        begin, counted = threading.Event(), threading.Event()

        def count() -> None:
            begin.wait()
            for _ in range(3_000_000):
                pass
            counted.set()

        thread = threading.Thread(target=count)
        thread.start()
        values = [os.urandom(size_bytes // 6).hex().encode() for _ in range(3)]
        begin.set()
        log.append_many(values, atomic=True)
        assert counted.is_set()
        thread.join()
        assert [record.value for record in log.read()] == values
