"""Retry topics and dead letters. Where time matters, the test turns the clock; nothing waits for time to pass."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from confluent_kafka import Consumer, TopicPartition

from examples.retries.__main__ import fate
from examples.retries.clock import FileClock, turn
from examples.retries.headers import ATTEMPTS_MAX, Trail, delay_ms
from examples.retries.payments import Busy, Garbled, Payment, payments
from tests.examples.plays import TIMEOUT_S, readme_commands, records, running, words
from tests.processes import Process

if TYPE_CHECKING:
    from tests.examples.conftest import Plays

ASKED = payments(200, seed=5)
HOUR_MS = 3_600_000


def check(outcome: dict[str, Any]) -> None:
    """Who was charged at which attempt and who was given up why, from the payments alone."""
    fates = {one.id: fate(one) for one in ASKED}
    charged = Counter(str(attempts) for attempts, reason, _errors in fates.values() if not reason)
    assert outcome["charged"] == charged
    assert {letter["payment"]: letter["reason"] for letter in outcome["dead"]} == {
        name: reason for name, (_attempts, reason, _errors) in fates.items() if reason
    }
    assert set(charged) == {"1", "2", "3", "4"}


@pytest.mark.ottla
@pytest.mark.plays("retries", "plain")
def test_every_payment_meets_its_fate(plays: Plays) -> None:
    """On the wall's clock: each is charged at the attempt it should be, or given up for the reason it should be."""
    run = plays("retries", "plain")
    check(run.outcome)
    assert run.outcome["repeats"] == 0
    for letter in run.outcome["dead"]:
        times = [failure["at_ms"] for failure in letter["failures"]]
        waited = [later - earlier for earlier, later in pairwise(times)]
        assert all(ms >= delay_ms(n, 300) for n, ms in enumerate(waited, 1))


def test_a_killed_worker_and_hours_of_delay(broker: Process, tmp_path: Path, unique: str) -> None:
    """Delays of 1, 2 and 4 hours, turned by hand: each attempt is made at exactly its hour, and each dead letter tells.

    A worker is killed at hour 0 with attempts made and not committed. It meets those again and leaves them alone.
    """
    _plain, command = readme_commands("retries")
    told, scratch, clock = tmp_path / "outcome.json", tmp_path / "scratch", tmp_path / "clock"
    turn(clock, 0)
    more = ["--bootstrap", broker.bootstrap, "--prefix", f"{unique}-", "--json", str(told)]
    more += ["--delay-ms", str(HOUR_MS), "--clock", str(clock)]
    with running([*words(command), *more], scratch, errors=subprocess.STDOUT) as process:
        assert process.stdout is not None
        said = ""
        while "it is started again" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        hour = 0
        for attempt in range(2, ATTEMPTS_MAX + 1):
            waiting = sum(fate(one)[0] >= attempt for one in ASKED)
            wait_for_records(broker.bootstrap, f"{unique}-payments.retry-{attempt - 1}", waiting, process)
            hour += 1 << (attempt - 2)
            turn(clock, hour * HOUR_MS)
        rest, _none = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 0, said + rest
    outcome = json.loads(told.read_text())
    assert outcome["wrong"] == []
    check(outcome)
    assert outcome["repeats"] == outcome["read_again"]

    by_id = {one.id: one for one in ASKED}
    letters = {name: letter for letter in outcome["dead"] if (name := letter["payment"])}
    topic = f"{unique}-payments"
    sent = {f"{topic}-{one.partition()}@{one.offset()}": one for one in records(broker.bootstrap, topic)}
    for message in records(broker.bootstrap, f"{topic}.dead"):
        headers = {name: value.decode() for name, value in message.headers()}
        original = sent[headers["origin"]]
        assert (message.key(), message.value()) == (original.key(), original.value())
        failures = json.loads(headers["failures"])
        hours = [0, 1, 3, 7] if headers["reason"] == "attempts used up" else [0]
        assert [failure["at_ms"] for failure in failures] == [hour * HOUR_MS for hour in hours]
        assert [failure["attempt"] for failure in failures] == list(range(1, len(hours) + 1))
        assert headers["attempt"] == str(len(hours))
        (name,) = (one.id for one in ASKED if one.as_bytes() == message.value())
        assert letters[name]["failures"] == failures
        _attempts, reason, errors = fate(by_id[name])
        assert headers["reason"] == reason
        assert [failure["error"].partition(": ")[0] for failure in failures] == errors


def wait_for_records(bootstrap: str, topic: str, count: int, process: subprocess.Popen[str]) -> None:
    """Until the topic has so many records."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "tests"})
    deadline = time.monotonic() + TIMEOUT_S
    try:
        while (there := consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=30)[1]) < count:
            assert process.poll() is None
            assert time.monotonic() < deadline, f"{there} of {count} records in {topic}"
    finally:
        consumer.close()


def test_delays_double() -> None:
    """The first delay, then twice as long each time; the trail keeps every failure and the first place."""
    trail = Trail("payments-0@17")
    for attempt, due_ms in ((1, 1_100), (2, 3_100), (3, 7_100)):
        assert trail.attempt == attempt
        trail = trail.again(Busy("busy"), trail.due_ms or 100, 1_000)
        assert trail.due_ms == due_ms
    assert [failure["at_ms"] for failure in trail.failures] == [100, 1_100, 3_100]
    assert trail.origin == "payments-0@17"


def test_a_clock_that_is_turned(tmp_path: Path) -> None:
    """It stands until somebody turns it."""
    turn(tmp_path / "clock", 5)
    clock = FileClock(tmp_path / "clock")
    assert clock.now_ms() == clock.now_ms() == 5
    turn(tmp_path / "clock", 6)
    assert clock.now_ms() == 6


def test_a_garbled_payment_is_no_json() -> None:
    """The sample has every mood, and the garbled one cannot be parsed whoever tries."""
    assert {one.mood for one in ASKED} == {"fine", "busy-1", "busy-2", "busy-3", "busy-9", "declined", "garbled"}
    garbled = next(one for one in ASKED if one.mood == "garbled")
    with pytest.raises(ValueError, match="Unterminated"):
        json.loads(garbled.as_bytes())
    assert Payment.parse(ASKED[0].as_bytes()) == ASKED[0]


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        b'{"id": "p", "account": "a", "cents": 1, "mood": 5}',
        b'{"id": "p", "account": "a", "cents": 1, "mood": "busy-often"}',
        b'{"id": "p", "account": "a", "cents": "1", "mood": "fine"}',
        b'{"id": null, "account": "a", "cents": 1, "mood": "fine"}',
    ],
)
def test_whatever_is_no_payment_is_garbled(value: bytes) -> None:
    """A record that ended the worker would end it again after each start: nobody would be charged any more."""
    with pytest.raises(Garbled, match="not a payment: "):
        Payment.parse(value)


class Sent:
    """A record as the client hands it over."""

    def __init__(self, topic: str, headers: list[tuple[str, bytes | None]]) -> None:
        self._topic = topic
        self._headers = headers

    def topic(self) -> str:
        return self._topic

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return 17

    def headers(self) -> list[tuple[str, bytes | None]]:
        return self._headers


def test_headers_of_other_people_mean_nothing() -> None:
    """A producer may call its headers what it likes and write any bytes; only copies in retry topics carry a trail."""
    others: list[tuple[str, bytes | None]] = [
        ("attempt", b"x"),
        ("due-ms", b"9999999999999"),
        ("failures", None),
        ("trace", b"\xff\xfe"),
    ]
    assert Trail.of(cast("Any", Sent("payments", others))) == Trail("payments-0@17")
    trail = Trail("payments-0@3").again(Busy("busy"), 100, 1_000)
    copy: list[tuple[str, bytes | None]] = [*trail.as_headers(), ("trace", b"\xff")]
    assert Trail.of(cast("Any", Sent("payments.retry-1", copy))) == trail
