"""The workloads of the bridge: what loads a control plane, what computes beside a broker, and the table."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benches import bridge, control_load
from ottla.messages import CreateTopicsResponse, CreateTopicsResponseCreatableTopicResult
from tests.conftest import TEST_SETTINGS
from tests.processes import OttlaProcess, answers

WAIT_S = 30


def children(pid: int) -> list[int]:
    """The processes that this one has started."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        fields = status.read_text().rpartition(")")[2].split()
        if int(fields[1]) == pid:
            found.append(int(status.parent.name))
    return found


def test_a_control_plane_is_loaded_with_all_kinds_of_requests(broker: OttlaProcess) -> None:
    load = bridge.ControlLoad(broker)
    try:
        told = load.finish()
    finally:
        load.kill()
    assert set(told["per_s"]) == set(control_load.NAMES.values())
    assert min(told["per_s"].values()) > 0


def test_a_load_that_is_refused_is_none() -> None:
    refused = CreateTopicsResponseCreatableTopicResult("t", error_code=36)
    control_load.check(CreateTopicsResponse(topics=[CreateTopicsResponseCreatableTopicResult("t")]))
    with pytest.raises(RuntimeError, match="CreateTopicsResponse says 36, 1 times of 1"):
        control_load.check(CreateTopicsResponse(topics=[refused]))


def test_a_program_computes_has_a_neighbour_and_rests_as_it_is_told(tmp_path: Path) -> None:
    """Each is told apart by what is seen of the process: its time, its child, its end."""
    process = bridge.EmbeddedProcess(tmp_path, TEST_SETTINGS)
    process.start()
    try:
        process.tell(signal.SIGUSR1)
        before_s = process.cpu_seconds()
        while process.cpu_seconds() < before_s + 0.5:
            assert answers(process.host, process.port, WAIT_S), process.tail()
        process.tell(signal.SIGUSR2)
        while not children(process.pid):
            assert answers(process.host, process.port, WAIT_S), process.tail()
        process.tell(signal.SIGHUP)
        while children(process.pid):
            assert answers(process.host, process.port, WAIT_S), process.tail()
        process.stop_without_fault()
    finally:
        process.kill()


def test_the_table_says_what_is_the_bridges_and_what_any_neighbours() -> None:
    medians = zip(bridge.FORMS, (1e3, 6e3, 3e3), strict=True)
    told = {form: {"median": median, "low": 5e2, "high": 9e3} for form, median in medians}
    result: dict[str, Any] = {
        "workload": "bridge-control",
        "title": "ottla: busy",
        "rounds": {bridge.BUSY: [{"load": {"per_s": {"Metadata": 1000.0, "OffsetCommit": 2000.0}}}]},
        **dict.fromkeys(bridge.FIGURES, told),
    }
    lines = bridge.table([result, {"workload": "tiny"}])
    spread = "(0.50 to 9.00)"
    row = f"| ottla: busy: end to end p99 | 1.00 {spread} | 6.00 {spread} | 3.00 {spread} | 2.00 | 6.00 |"
    assert row in lines
    assert lines[-1].startswith("| the load: 1,000 Metadata/s, 2,000 OffsetCommit/s |")
    assert bridge.table([{"workload": "tiny"}]) == []


def test_a_broker_that_is_not_there_is_not_loaded() -> None:
    command = [sys.executable, "-m", "benches.control_load", "127.0.0.1", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=WAIT_S)
    assert done.returncode, json.dumps(done.stdout)
    assert not done.stdout
