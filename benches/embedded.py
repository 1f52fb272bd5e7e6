"""A program with a broker in it: `python -m benches.embedded DATA_DIR HOST:PORT NAME=VALUE...`.

On SIGUSR1 it begins to compute in a loop of plain Python, which holds the interpreter's lock but for the switches that
Python itself makes. On SIGUSR2 it has a child compute in the same way instead: a process of the same session, which a
scheduler that shares the time out by sessions treats like a thread of this one. On SIGHUP there is rest, on SIGTERM the
end. Without arguments it is such a child, and computes.
"""

from __future__ import annotations

import signal
import subprocess
import sys

import ottla

SIGNALS = {signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGTERM}
STEPS = 100_000


def compute(number: int) -> int:
    for _ in range(STEPS):
        number = (number * 1_103_515_245 + 12_345) % (1 << 31)
    return number


def compute_when_told() -> None:
    """The signals are blocked in all threads: they wait until they are asked for, and none is lost."""
    told: int = signal.SIGHUP
    number = 1
    child: subprocess.Popen[bytes] | None = None
    while told != signal.SIGTERM:
        if told != signal.SIGUSR1 or signal.sigpending() & SIGNALS:
            told = signal.sigwait(SIGNALS)
            if child is not None:
                child.kill()
                child.wait()
                child = None
            if told == signal.SIGUSR2:
                child = subprocess.Popen([sys.executable, "-m", "benches.embedded"])
        if told == signal.SIGUSR1:
            number = compute(number)


def main() -> None:
    data_dir, listen, *settings = sys.argv[1:]
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    with ottla.Broker(data_dir, listen=listen, config=dict(setting.split("=", 1) for setting in settings)):
        compute_when_told()


if __name__ == "__main__":
    if sys.argv[1:]:
        main()
    number = 1
    while not sys.argv[1:]:
        number = compute(number)
