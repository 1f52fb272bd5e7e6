"""Has the jobs and the answers: `python -m examples.jobs.owner JOBS ANSWERS WORKERS`; it ends when all are answered.

A job is done when its answer is in the log of answers. Together with the answer a cursor is committed, below which
everything is done: a new owner begins there, and leaves out the few above it that have their answer already. One thread
for each worker waits for the disk; answers that come together share a sync.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import ottla
from examples import children

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CURSOR = "jobs"
NUMBER = "job"
BY = "worker"


class Worker:
    """A process that is asked by lines. It ends when we do, since then its input ends."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "examples.jobs.worker"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=children.ROOT
        )
        self.pid = self._process.pid

    def ask(self, job: int, text: str) -> str | None:
        """The answer; None if the worker is gone."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"job": job, "text": text}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return None
        line = self._process.stdout.readline()
        # One that was killed in the middle of a line has not answered.
        return str(json.loads(line)["answer"]) if line.endswith("\n") else None

    def end(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue  # what it was to be told, and is not there to hear
        self._process.wait()


class Owner:
    """Which jobs are to be done, and what is known of those that were."""

    def __init__(self, jobs: ottla.Log, answers: ottla.Log) -> None:
        self._answers = answers
        self._lock = threading.Lock()
        # Below it everything is done, of what lies above these are.
        self._low = answers.cursor(CURSOR) or 0
        self._done = {number for record in answers.read() if (number := job_of(record)) >= self._low}
        self._next = self._to_do(jobs)

    def _to_do(self, jobs: ottla.Log) -> Iterator[tuple[int, str]]:
        for record in jobs.read(self._low):
            if record.offset not in self._done:
                yield record.offset, (record.value or b"").decode()

    def serve(self) -> None:
        """With a worker of its own, until nothing is left to be done."""
        worker = Worker()
        try:
            while (job := self._take()) is not None:
                while (found := worker.ask(*job)) is None:
                    worker.end()
                    worker = Worker()
                self._keep(job[0], found, worker.pid)
        finally:
            worker.end()

    def _take(self) -> tuple[int, str] | None:
        with self._lock:
            return next(self._next, None)

    def _keep(self, job: int, answer: str, pid: int) -> None:
        """On the disk with its cursor when this returns."""
        with self._lock:
            # Jobs of other threads count as done once their append has returned, this one with this append.
            low = self._above({*self._done, job})
        headers = {NUMBER: b"%d" % job, BY: b"%d" % pid}
        self._answers.append(answer.encode(), headers=headers, cursors={CURSOR: low})
        with self._lock:
            self._done.add(job)
            self._low = low = self._above(self._done)
            self._done = {number for number in self._done if number >= low}

    def _above(self, done: set[int]) -> int:
        low = self._low
        while low in done:
            low += 1
        return low


def job_of(record: ottla.Record) -> int:
    """Which job a record answers."""
    return int(dict(record.headers)[NUMBER] or b"")


def own(jobs_path: Path, answers_path: Path, workers: int) -> int:
    with (
        ottla.Log(jobs_path, read_only=True) as jobs,
        ottla.Log(answers_path) as answers,
        ThreadPoolExecutor(workers) as pool,
    ):
        owner = Owner(jobs, answers)
        for served in [pool.submit(owner.serve) for _ in range(workers)]:
            served.result()
    return 0


if __name__ == "__main__":
    sys.exit(children.main(own, children.path, children.path, int))
