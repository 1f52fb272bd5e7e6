"""Whether Produce and Fetch feel what Python does: latencies with and without it, beside each other.

`bridge-control`: a control plane with thousands of requests a second, some of which take it long (`control_load.py`).
`bridge-embedded`: a program with a broker in it that computes in a loop of plain Python, lock and all (`embedded.py`).

Whoever computes on a machine takes time from everybody there. So each round has a third form: the same broker left
alone, while as many neighbours compute as there are processes in work in the second one. What the second form is
slower than the third is the bridge's; what the third is slower than the first is the machine's.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import IO, Any

from benches.data_plane import LATENCIES, open_loop_round
from benches.effort import EFFORT
from benches.peers import Peer
from benches.rounds import Round, interleaved, summary
from tests.processes import Process, taken_along

QUIET, BUSY, NEIGHBOURS = "quiet", "busy", "neighbours"
FORMS = (QUIET, BUSY, NEIGHBOURS)
RATE = 1_000
ROUND_S = 8
FIGURES = tuple(f"{kind}_{name}" for kind in ("produce", "end_to_end") for name in LATENCIES)
STOP_S = 60


class EmbeddedProcess(Process):
    """A program with a broker in it."""

    name = "ottla"

    def command(self) -> list[str]:
        settings = [f"{name}={value}" for name, value in self.settings.items()]
        where = [str(self.data_dir), f"{self.host}:{self.port}"]
        return [sys.executable, "-m", "benches.embedded", *where, *settings]

    def tell(self, number: signal.Signals) -> None:
        assert self._process is not None, "not started"
        self._process.send_signal(number)


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """So many processes that compute, and have nothing to do with any broker."""
    command = [*taken_along(), sys.executable, "-m", "benches.embedded"]
    started = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for each in started:
            each.kill()
            each.wait(STOP_S)


class ControlLoad:
    """The load on a control plane, from when everything was answered once."""

    def __init__(self, process: Process) -> None:
        command = [*taken_along(), sys.executable, "-m", "benches.control_load", process.host, str(process.port)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self._out.readline() != "{}\n":
            self.kill()
            raise RuntimeError("the load on the control plane did not begin")

    @property
    def _out(self) -> IO[str]:
        assert self._process.stdout is not None
        return self._process.stdout

    def finish(self) -> dict[str, Any]:
        said, _ = self._process.communicate(timeout=STOP_S)
        if self._process.returncode:
            raise RuntimeError(f"the load on the control plane ended with {self._process.returncode}")
        told: dict[str, Any] = json.loads(said)
        return told

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(STOP_S)


def control_round(peer: Peer, program: Path, form: str) -> Round:
    """One of `bridge-control`. Two are in work when the control plane is busy: it and its load."""
    if form == BUSY:
        load = ControlLoad(peer.process)
        try:
            played = open_loop_round(peer.process, program, RATE, EFFORT.seconds(ROUND_S))
            return {**played, "load": load.finish()}
        finally:
            load.kill()
    with neighbours(2 if form == NEIGHBOURS else 0):
        return open_loop_round(peer.process, program, RATE, EFFORT.seconds(ROUND_S))


def embedded_round(process: EmbeddedProcess, program: Path, form: str) -> Round:
    """One of `bridge-embedded`."""
    told = {BUSY: signal.SIGUSR1, NEIGHBOURS: signal.SIGUSR2, QUIET: signal.SIGHUP}
    process.tell(told[form])
    try:
        return open_loop_round(process, program, RATE, EFFORT.seconds(ROUND_S))
    finally:
        process.tell(signal.SIGHUP)


def forms_beside_each_other(play: Any) -> dict[str, Any]:
    """A round of each form to warm up, then rounds of all of them in turns."""
    for form in FORMS:
        play(form)
    rounds: dict[str, list[Round]] = {form: [] for form in FORMS}
    for form in interleaved(FORMS, EFFORT.rounds):
        rounds[form].append(play(form))
    told = {figure: {form: summary(done, figure) for form, done in rounds.items()} for figure in FIGURES}
    return {"rounds": rounds, **told}


def control(peer: Peer, program: Path) -> dict[str, Any]:
    return {
        "workload": "bridge-control",
        "title": f"{peer.name}: {RATE:,} records/s beside a busy control plane",
        "peer": peer.name,
        **forms_beside_each_other(lambda form: control_round(peer, program, form)),
    }


def embedded(folder: Path, program: Path, settings: Mapping[str, str]) -> dict[str, Any]:
    process = EmbeddedProcess(folder, settings)
    process.start()
    try:
        told = forms_beside_each_other(lambda form: embedded_round(process, program, form))
    finally:
        process.kill()
    return {
        "workload": "bridge-embedded",
        "title": f"{process.name}: {RATE:,} records/s of a broker in a program that computes",
        "peer": process.name,
        **told,
    }


def table(workloads: Sequence[Mapping[str, Any]]) -> list[str]:
    """A row for each latency; the last columns are the two that a bridge, and that any neighbour, answers for."""
    known = [result for result in workloads if str(result["workload"]).startswith("bridge-")]
    if not known:
        return []
    heads = ["median (lowest to highest), ms", *FORMS, f"{BUSY} / {NEIGHBOURS}", f"{BUSY} / {QUIET}"]
    lines = ["", "| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)]
    for result in known:
        for figure in FIGURES:
            told = result[figure]
            words = figure.removesuffix("_us").replace("end_to_end_", "end to end ").replace("produce_", "produce ")
            cells = [f"{result['title']}: {words}"]
            cells += [
                f"{each['median'] / 1e3:.2f} ({each['low'] / 1e3:.2f} to {each['high'] / 1e3:.2f})"
                for each in (told[form] for form in FORMS)
            ]
            cells += [f"{told[BUSY]['median'] / told[other]['median']:.2f}" for other in (NEIGHBOURS, QUIET)]
            lines.append("| " + " | ".join(cells) + " |")
        if loads := [each["load"]["per_s"] for each in result["rounds"][BUSY] if "load" in each]:
            rates = ", ".join(f"{median(load[name] for load in loads):,.0f} {name}/s" for name in loads[0])
            lines.append(f"| the load: {rates} |" + " |" * (len(heads) - 1))
    return lines
