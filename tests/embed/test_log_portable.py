"""The disk as any Unix has it, chosen by a variable: what a log does with it, and that nothing else is used."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import ottla

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import sys
import ottla
with ottla.Log(sys.argv[1], config={"internal.segment.bytes": "5000"}) as log:
    for number in range(20):
        log.append(b"x" * 500, cursors={"c": number})
    assert [record.offset for record in log.read()] == list(range(20))
    log.delete_before(10)
    with ottla.Log(sys.argv[1], read_only=True) as reader:
        assert len(list(reader.read())) == 10
"""
# Of Linux alone, or of some: reads that do not wait, what is in memory, sending files, room ahead, syncs of data alone.
SHORT_CUTS = {
    *("preadv2", "cachestat", "sendfile", "fallocate", "fdatasync", "sync_file_range", "pwritev", "fadvise64"),
    *("statfs", "statvfs"),
}


def environment(choice: str) -> dict[str, str]:
    return {**os.environ, "OTTLA_DISK": choice}


@pytest.mark.skipif(shutil.which("strace") is None and os.environ.get("CI") != "true", reason="strace is not installed")
@pytest.mark.parametrize("choice", ["portable", "native"])
def test_calls_of_the_kernel(tmp_path: Path, choice: str) -> None:
    """The portable disk does without every short cut that the other one takes, and locks as the process."""
    trace = tmp_path / "trace"
    strace = ["strace", "-f", "-qq", "-o", str(trace), "-e", f"trace=fsync,fcntl,?{',?'.join(sorted(SHORT_CUTS))}"]
    command = [*strace, sys.executable, "-c", PROGRAM, str(tmp_path / "d")]
    done = subprocess.run(command, env=environment(choice), capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    lines = trace.read_text()
    called = set(re.findall(r"^\d+ +(\w+)\(", lines, re.MULTILINE))
    if choice == "portable":
        assert called & SHORT_CUTS == set()
        assert "fsync" in called
        assert "F_SETLK," in lines
        assert "F_OFD_SETLK" not in lines
    else:
        assert {"fdatasync", "fallocate", "pwritev"} <= called
        assert "F_OFD_SETLK" in lines


@pytest.mark.parametrize("mine, theirs", [("portable", "native"), ("native", "portable")])
def test_the_two_keep_each_other_out(tmp_path: Path, mine: str, theirs: str) -> None:
    """Whatever disk an owner chose, another process is told that the directory is in use, and may read along."""
    owner = """
import sys, ottla
with ottla.Log(sys.argv[1]) as log:
    log.append(b'v')
    print('open', flush=True)
    sys.stdin.read()
"""
    other = """
import sys, ottla
try:
    ottla.Log(sys.argv[1])
except ottla.DirectoryInUse as error:
    print('in use')
print([record.value for record in ottla.Log(sys.argv[1], read_only=True).read()])
"""
    place = str(tmp_path / "d")
    command = [sys.executable, "-c", owner, place]
    with subprocess.Popen(command, env=environment(mine), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        told = subprocess.run(
            [sys.executable, "-c", other, place], env=environment(theirs), capture_output=True, text=True, check=False
        )
        process.communicate()
    assert (told.stdout, told.stderr) == ("in use\n[b'v']\n", "")
    assert process.returncode == 0
    with ottla.Log(place) as log:
        assert log.status().clean_start
