"""Transactions behind a proxy that cuts connections before and after requests are handled, repeats requests, and lets
them come late on another connection: each input still has its output once.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import MakeBroker
from tests.history.inside import Feed, Watch
from tests.history.proxy import (
    ADD_OFFSETS_TO_TXN,
    ADD_PARTITIONS_TO_TXN,
    END_TXN,
    INIT_PRODUCER_ID,
    PRODUCE,
    TXN_OFFSET_COMMIT,
    Chaos,
    Fate,
    Proxy,
    Request,
    passing,
)
from tests.history.run import Run
from tests.history.served import TRANSACTIONS, need
from tests.history.test_exactly_once import PARTITIONS, SETTINGS, WITH_JAVA, WORK, Slots, finish, library, prepare

RATES = {Fate.CUT: 0.05, Fate.UNANSWERED: 0.05, Fate.REPEAT: 0.05, Fate.LATE: 0.05, Fate.DELAY: 0.03}
OF_TRANSACTIONS = {PRODUCE, ADD_PARTITIONS_TO_TXN, ADD_OFFSETS_TO_TXN, TXN_OFFSET_COMMIT, END_TXN, INIT_PRODUCER_ID}
# From these on a request names the epoch that its transaction alone has (KIP-890), so that a late one is told apart.
EPOCH_PER_TRANSACTION = {TXN_OFFSET_COMMIT: 5, END_TXN: 5}
INVALID_PRODUCER_EPOCH, PRODUCER_FENCED = 47, 90


class Trouble:
    """Chance, where a broker can keep its promise.

    A producer id that is asked for again is another one, and fences who asked first. And before KIP-890 a request of
    one transaction that comes in the next cannot be told from one of that: Apache Kafka takes it too.

    `kept` are API keys whose connection does not end.
    """

    def __init__(self, seed: int, kept: Collection[int] = ()) -> None:
        self._chaos = Chaos(seed, RATES)
        self._kept = kept

    def __call__(self, request: Request) -> Fate:
        if request.api not in OF_TRANSACTIONS:
            return Fate.PASS
        fate = self._chaos(request)
        if request.api in self._kept and fate in {Fate.CUT, Fate.UNANSWERED, Fate.LATE}:
            return Fate.REPEAT
        if fate is Fate.LATE:
            return fate if self._is_known_when_late(request) else Fate.UNANSWERED
        return Fate.CUT if fate is Fate.REPEAT and request.api == INIT_PRODUCER_ID else fate

    def _is_known_when_late(self, request: Request) -> bool:
        """Sequence numbers tell a late Produce, epochs the rest."""
        least = EPOCH_PER_TRANSACTION.get(request.api)
        return request.api == PRODUCE or (least is not None and request.version >= least)


@contextmanager
def behind(proxy: Proxy, make_broker: MakeBroker, folder: Path) -> Iterator[Run]:
    """A run whose programs go through the proxy."""
    with proxy:
        broker = make_broker({**SETTINGS, **proxy.settings})
        proxy.lead_to(broker.host, broker.port)
        need(broker, TRANSACTIONS)
        with Run(folder / "run", broker, proxy) as run:
            prepare(run)
            yield run


@pytest.mark.parametrize("name", ["librdkafka", "franz-go", WITH_JAVA])
def test_trouble_by_chance(make_broker: MakeBroker, tmp_path: Path, name: str) -> None:
    """Two processes of a library behind a proxy that does every kind of thing to requests of transactions."""
    # librdkafka may hang there (programs/librdkafka.py): then it is the client that would be tested. It does so without
    # that too, and is noticed soon.
    count = 20 if name == "librdkafka" else 60
    proxy = Proxy(Trouble(5, kept={TXN_OFFSET_COMMIT} if name == "librdkafka" else ()))
    with behind(proxy, make_broker, tmp_path) as run:
        with Feed(run, "in", PARTITIONS, per_s=200), Watch(run, "out", PARTITIONS):
            slots = Slots(run, [library(name)] * 2, "transform", **WORK, try_s=1.5)
            slots.progress(count)
        proxy.decide = passing
        finish(run, slots)
        run.verdict(at_least={"transactions_committed": count, "transactions_aborted": 1, "fault": 20})
    assert {fate for (_, fate), count in proxy.counts.items() if count} == set(Fate), proxy.counts


class LateEnds:
    """Of every three EndTxn the first comes late, the second is the client's next try, and the third waits, in the open
    transaction after it, until the late one has been handled.
    """

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy

    def __call__(self, request: Request) -> Fate:
        if request.api != END_TXN:
            return Fate.PASS
        assert request.version >= EPOCH_PER_TRANSACTION[END_TXN], "the client knows no epoch per transaction"
        turn = request.number % 3
        if turn == 1:
            return Fate.LATE
        if turn == 0:
            for held in self._proxy.held:
                held.released.set()
            return Fate.DELAY
        return Fate.PASS


@pytest.mark.kafka
def test_a_late_end_does_not_hit_the_next_transaction(make_broker: MakeBroker, tmp_path: Path) -> None:
    """The client's EndTxn is stuck, its second try ends the transaction; in the middle of the next one the first
    arrives, and is refused by its epoch.
    """
    proxy = Proxy(late_after=0, delay_s=0.5)
    proxy.decide = LateEnds(proxy)
    with behind(proxy, make_broker, tmp_path) as run:
        with Feed(run, "in", PARTITIONS, per_s=200), Watch(run, "out", PARTITIONS):
            slots = Slots(run, [library("java")], "transform", **WORK)
            slots.progress(20)
        proxy.decide = passing
        finish(run, slots)
        run.verdict(at_least={"transactions_committed": 20, "transactions_aborted": 2})
    answers = [held.answer for held in proxy.held if held.answered.is_set()]
    assert len(answers) >= 8
    for answer in answers:
        assert answer is not None, "the broker closed the connection"
        (code,) = struct.unpack_from(">h", answer, 4 + 1 + 4)  # behind correlation id, tags and throttle time
        assert code in {INVALID_PRODUCER_EPOCH, PRODUCER_FENCED}
