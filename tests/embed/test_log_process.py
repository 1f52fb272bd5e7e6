"""A log in a program that forks, is interrupted, uses threads, or ends in the middle of it."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from itertools import chain
from typing import TYPE_CHECKING

import pytest

import ottla
from ottla import _core

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOBODY = 65534


def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)


def test_threads(tmp_path: Path) -> None:
    """Each append gets an offset of its own, each thread's records keep their order."""
    with ottla.Log(tmp_path / "d") as log:
        offsets: list[list[int]] = [[] for _ in range(8)]

        def append(number: int) -> None:
            for count in range(50):
                offsets[number].append(log.append(b"%d" % count, key=b"%d" % number))

        threads = [threading.Thread(target=append, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(chain.from_iterable(offsets)) == list(range(400))
        for number in range(8):
            own = [(r.offset, r.value) for r in log.read() if r.key == b"%d" % number]
            assert own == [(offset, b"%d" % count) for count, offset in enumerate(offsets[number])]


FORKED = """
import os, sys, threading
import ottla
log = ottla.Log(sys.argv[1])
reader = log.read()
followed = log.follow(0)
busy = threading.Thread(target=lambda: [log.append(b"v") for _ in range(200)])
busy.start()
for _ in range(20):
    child = os.fork()
    if child == 0:
        for call in (lambda: log.append(b"child"), lambda: log.end_offset, lambda: next(iter(followed)), log.status):
            try:
                call()
            except ottla.Forked:
                continue
            os._exit(1)
        log.close()
        del log, reader, followed
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
busy.join()
assert log.end_offset == 200
# A child that ends as programs do leaves the log alone too.
if os.fork() == 0:
    sys.exit(0)
assert os.wait()[1] == 0
log.append(b"parent")
log.close()
"""


def test_fork(tmp_path: Path) -> None:
    """A child is refused by name, writes nothing and hangs nowhere, while the parent goes on."""
    ended = run(FORKED, tmp_path / "d")
    assert (ended.returncode, ended.stderr) == (0, "")
    with ottla.Log(tmp_path / "d") as log:
        assert log.end_offset == 201


INTERRUPTED = """
import os, signal, sys, threading
import ottla
log = ottla.Log(sys.argv[1])
log.append(b"v")
main = threading.main_thread().ident
threading.Timer(0.2, lambda: signal.pthread_kill(main, signal.SIGINT)).start()
try:
    for record in log.follow(1):
        pass
except KeyboardInterrupt:
    print("interrupted")
log.append(b"after")
log.close()
print(log.closed)
"""


def test_ctrl_c_ends_a_wait(tmp_path: Path) -> None:
    """A loop that waits for records is interrupted as any other; the log goes on."""
    ended = run(INTERRUPTED, tmp_path / "d")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "interrupted\nTrue\n", "")


LEFT = """
import sys, threading
import ottla
log = ottla.Log(sys.argv[1], durability=sys.argv[2])
log.append(b"v")
begun = threading.Barrier(3)

def append():
    begun.wait()
    try:
        while True:
            log.append(b"v")
    except ottla.Closed:
        pass

def follow():
    followed = log.follow(0)
    begun.wait()
    for record in followed:
        pass

for work in (append, follow):
    threading.Thread(target=work, daemon=True).start()
begun.wait()
"""


@pytest.mark.parametrize("durability", ["fsync", "os"])
def test_the_interpreter_ends_while_threads_are_busy(tmp_path: Path, durability: str) -> None:
    """Nothing crashes, and the directory is closed as if the program had done it."""
    for _ in range(5):
        ended = run(LEFT, tmp_path / "d", durability)
        assert (ended.returncode, ended.stderr) == (0, "")
        with ottla.Log(tmp_path / "d") as log:
            assert log.status().clean_start


WORKING = """
import sys, threading
import ottla
log = ottla.Log(sys.argv[1])
main = threading.main_thread()

def work():
    main.join()
    for _ in range(100):
        log.append(b"v")

threading.Thread(target=work).start()
"""


def test_a_thread_may_work_on_when_the_main_one_has_ended(tmp_path: Path) -> None:
    """The interpreter waits for threads that are no daemons, and its logs are closed behind them."""
    ended = run(WORKING, tmp_path / "d")
    assert (ended.returncode, ended.stderr) == (0, "")
    with ottla.Log(tmp_path / "d") as log:
        assert (log.status().clean_start, log.end_offset) == (True, 100)


FOLLOWING = """
import sys, threading
import ottla
waits = threading.Event()

def follow(log):
    followed = iter(log.follow(0))
    print(next(followed).value)
    waits.set()
    print(list(followed))

with ottla.Log(sys.argv[1]) as log:
    log.append(b"v")
    threading.Thread(target=follow, args=(log,)).start()
    waits.wait()
"""


def test_closing_lets_a_program_end_whose_thread_follows(tmp_path: Path) -> None:
    """The interpreter waits for that thread, which waits for records until the log is closed: here by `with`."""
    ended = run(FOLLOWING, tmp_path / "d")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "b'v'\n[]\n", "")


def test_a_log_that_is_dropped_lets_go(tmp_path: Path) -> None:
    """Without `close` the directory is free once nobody has the log any more, and clean."""
    log = ottla.Log(tmp_path / "d")
    log.append(b"v")
    del log
    with ottla.Log(tmp_path / "d") as again:
        assert again.status().clean_start
        assert again.end_offset == 1


def test_a_log_stays_open_while_its_records_are_read(tmp_path: Path) -> None:
    """Who keeps the records keeps the log, also in a circle; then it is closed."""
    place = tmp_path / "d"
    with ottla.Log(place) as log:
        log.append_many([b"a", b"b"])
    assert [record.value for record in ottla.Log(place).read()] == [b"a", b"b"]
    assert [record.value for record in ottla.Log(place)] == [b"a", b"b"]
    assert [record.value for record in ottla.Log(place).follow(1, timeout_ms=0)] == [b"b"]

    class Circle(ottla.Log):
        records: object

    circle = Circle(place)
    circle.records = circle.read()
    assert _core.is_locked(str(place))
    del circle
    gc.collect()
    assert not _core.is_locked(str(place))


def test_a_log_loads_no_event_loop(tmp_path: Path) -> None:
    """Who waits in no event loop does not wait for one to be imported: it would be a third of the first use."""
    program = (
        "import sys, ottla\nwith ottla.Log(sys.argv[1]) as log:\n    log.append(b'v')\n"
        "    assert len(list(log.follow(0, timeout_ms=0))) == 1\n"
        "print([name for name in ('asyncio', 'ssl', 'concurrent', 'pyarrow', 'ottla.broker') if name in sys.modules])"
    )
    assert run(program, tmp_path / "d").stdout == "[]\n"


def test_who_closes_too_returns_when_it_is_closed(tmp_path: Path) -> None:
    """Whichever thread comes first: behind `close` the directory is free."""
    free: list[bool] = []

    def close(log: ottla.Log, both: threading.Barrier) -> None:
        both.wait()
        log.close()
        free.append(not _core.is_locked(str(tmp_path / "d")))

    for _ in range(10):
        log = ottla.Log(tmp_path / "d")
        log.append_many([b"v"] * 1000, wait=False)
        both = threading.Barrier(2)
        threads = [threading.Thread(target=close, args=(log, both)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert free == [True] * 20


def said(work: Callable[[], object]) -> str:
    """What an ordinary user is told: root may write everywhere, so it is asked in a child that is none."""
    if os.geteuid() != 0:
        with pytest.raises(ottla.OttlaError) as refused:
            work()
        return f"{type(refused.value).__name__}: {refused.value}"
    answer, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.setuid(NOBODY)
        try:
            work()
            os.write(tell, b"nothing")
        except BaseException as error:  # noqa: BLE001 - whatever it is, the parent is to see it
            os.write(tell, f"{type(error).__name__}: {error}".encode())
        os._exit(0)
    os.close(tell)
    with os.fdopen(answer) as told:
        text = told.read()
    os.waitpid(child, 0)
    return text


def read_all(place: Path) -> list[bytes | None]:
    with ottla.Log(place, read_only=True) as reader:
        return [record.value for record in reader.read()]


def test_missing_permission(tmp_path: Path) -> None:
    """The error names the place and what is not allowed; nothing is made. What may be read is read."""
    place = tmp_path / "sealed"
    with ottla.Log(place) as log:
        log.append(b"v")
    for path in (tmp_path, *tmp_path.parents[:2]):
        path.chmod(path.stat().st_mode | 0o055)
    place.chmod(0o555)
    before = sorted(path.name for path in place.iterdir())
    text = said(lambda: ottla.Log(place))
    assert text.startswith("StorageError: ")
    assert "sealed" in text
    assert "ermission denied" in text
    text = said(lambda: ottla.Log(place / "new"))
    assert "ermission denied" in text
    assert sorted(path.name for path in place.iterdir()) == before
    assert said(lambda: read_all(place)) == "nothing"
    place.chmod(0o755)
