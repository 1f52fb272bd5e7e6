"""Does a job: `python -m examples.jobs.worker`. A line with a number and a text comes in, one with the answer goes out.

It holds nothing that would be missed: killed, it costs the job it was at, which another one gets.
"""

from __future__ import annotations

import hashlib
import json
import sys

from examples import children

ITERATIONS = 3000


def answer(text: str) -> str:
    """Something that takes a moment."""
    return hashlib.pbkdf2_hmac("sha256", text.encode(), b"ottla", ITERATIONS).hex()


def work() -> int:
    for line in sys.stdin:
        job = json.loads(line)
        print(json.dumps({"job": job["job"], "answer": answer(job["text"])}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(children.main(work, told_by_lines=True))
