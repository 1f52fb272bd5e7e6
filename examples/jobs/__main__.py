"""The run: `python -m examples.jobs [--jobs 400] [--workers 3]`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections import Counter

import ottla
from examples.children import Failed, tail
from examples.jobs.owner import BY, job_of
from examples.jobs.worker import answer
from examples.scene import Scene, play, verdict


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.jobs", description="A work queue with several processes.")
    parser.add_argument("--jobs", type=int, default=400)
    parser.add_argument("--workers", type=int, default=3)
    chosen = parser.parse_args()
    with Scene("jobs") as scene:
        places = scene.folder / "jobs", scene.folder / "answers"
        with ottla.Log(places[0]) as jobs:
            jobs.append_many([b"text %d" % number for number in range(chosen.jobs)])
        ottla.Log(places[1]).close()
        owner = scene.start("owner", "examples.jobs.owner", *places, chosen.workers)
        with ottla.Log(places[0], read_only=True) as jobs, ottla.Log(places[1], read_only=True) as answers:
            scene.wait("a quarter of the answers", lambda: answers.end_offset >= chosen.jobs // 4, owner)
            *_before, last = answers.read()
            # Its pid is its own for as long as the owner has not waited for it: the owner does when it is gone.
            os.kill(worker_of(last), signal.SIGKILL)
            print(f"a worker killed with {answers.end_offset} answers there")
            scene.wait("half of the answers", lambda: answers.end_offset >= chosen.jobs // 2, owner)
            owner.kill()
            print(f"the owner killed with {answers.end_offset} answers there")
            owner = scene.start("owner", "examples.jobs.owner", *places, chosen.workers)
            scene.wait("the last answer", lambda: answers.end_offset >= chosen.jobs, owner)
            if code := owner.wait(30):
                raise Failed(f"the owner ended with {code}\n{tail(owner.output)}")
            by = Counter(map(worker_of, answers.read()))
            print(f"{chosen.jobs} jobs, {answers.end_offset} answers by {len(by)} workers: {sorted(by.values())}")
            return verdict(compare(jobs, answers))


def worker_of(record: ottla.Record) -> int:
    return int(dict(record.headers)[BY] or b"")


def compare(jobs: ottla.Log, answers: ottla.Log) -> list[str]:
    """Each job has one answer, and the right one."""
    wrong = []
    found = {job_of(record): (record.value or b"").decode() for record in answers.read()}
    for number, times in Counter(map(job_of, answers.read())).items():
        if times > 1:
            wrong.append(f"job {number} was answered {times} times")
    for record in jobs.read():
        if record.offset not in found:
            wrong.append(f"job {record.offset} has no answer")
        elif found[record.offset] != answer((record.value or b"").decode()):
            wrong.append(f"job {record.offset} has the answer of another")
    return wrong


if __name__ == "__main__":
    sys.exit(play(main))
