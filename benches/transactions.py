"""How many transactions a second 1 and 20 producers commit, each of one small record.

Two generators, each used against every broker alike. *Protocol-level*: sockets of ours that send Produce and EndTxn as
a client that knows KIP-890 does (the Produce adds its partition, each transaction has an epoch of its own), all in one
thread, nobody waiting between its requests. A Produce that comes while the last transaction is still being ended is
CONCURRENT_TRANSACTIONS, and repeated at once; how often is in the results. *librdkafka*: confluent-kafka's producer,
unmodified, a thread for each: begin, produce, commit, again.

Every producer writes to a partition of its own. A transaction counts when its end is answered.
"""

from __future__ import annotations

import itertools
import selectors
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from confluent_kafka import Producer as LibrdkafkaProducer
from msgspec import Struct

from benches.batches import batch
from benches.link import WAIT_S, Link, create_topic, wait_for_transactions
from benches.meters import Meter
from benches.peers import Peer
from benches.rounds import Round, interleaved, settled, summary, warm_up
from ottla.errors import ErrorCode
from ottla.messages import (
    EndTxnRequest,
    EndTxnResponse,
    InitProducerIdRequest,
    InitProducerIdResponse,
    ProduceRequest,
    ProduceRequestPartitionProduceData,
    ProduceRequestTopicProduceData,
    ProduceResponse,
)

SIZES = (1, 20)
VALUE = bytes(100)
ROUND_S = 3.0
ROUNDS = 3
SETTLES = ("per_s",)
TIMEOUT_MS = 60_000
# What a client tries again: Kafka says the second while it fetches its next block of producer ids.
COMES_BACK = {ErrorCode.CONCURRENT_TRANSACTIONS, ErrorCode.COORDINATOR_LOAD_IN_PROGRESS}
PRODUCE, INIT_PRODUCER_ID, END_TXN = 0, 22, 26
numbers = itertools.count(1)


class Producer:
    """One producer that ends a transaction and begins the next."""

    def __init__(self, peer: Peer, transactional_id: str, topic: str, partition: int) -> None:
        self.link = Link(peer.process)
        self.transactional_id = transactional_id
        self.topic = topic
        self.partition = partition
        self.producer_id = self.epoch = -1
        self.committed = 0
        # How often it came before its last transaction had ended.
        self.early = 0

    def init(self) -> None:
        deadline = time.monotonic() + WAIT_S
        request = InitProducerIdRequest(transactional_id=self.transactional_id, transaction_timeout_ms=TIMEOUT_MS)
        while True:
            answer = self.link.ask(INIT_PRODUCER_ID, request)
            assert isinstance(answer, InitProducerIdResponse)
            if not answer.error_code:
                self.producer_id, self.epoch = answer.producer_id, answer.producer_epoch
                return
            if answer.error_code not in COMES_BACK or time.monotonic() > deadline:
                raise RuntimeError(f"{self.transactional_id} was answered {answer}")

    def produce(self) -> None:
        self.link.send(PRODUCE, self._record())

    def begin(self) -> None:
        """Begin a transaction, and leave it open."""
        while (code := produce_code(self.link.ask(PRODUCE, self._record()))) != ErrorCode.NONE:
            if code != ErrorCode.CONCURRENT_TRANSACTIONS:
                raise RuntimeError(f"{self.transactional_id} was answered {code}")

    def _record(self) -> ProduceRequest:
        records = batch(VALUE, int(time.time() * 1000), self.producer_id, self.epoch, 0)
        data = ProduceRequestPartitionProduceData(index=self.partition, records=records)
        topic = ProduceRequestTopicProduceData(name=self.topic, partition_data=[data])
        return ProduceRequest(
            transactional_id=self.transactional_id, acks=-1, timeout_ms=TIMEOUT_MS, topic_data=[topic]
        )

    def end(self) -> None:
        self.link.send(
            END_TXN,
            EndTxnRequest(
                transactional_id=self.transactional_id,
                producer_id=self.producer_id,
                producer_epoch=self.epoch,
                committed=True,
            ),
        )

    def react(self) -> bool:
        """Something came: take it, and go on. True if a transaction is committed, and the next not begun."""
        match self.link.receive():
            case None:
                pass
            case ProduceResponse() as produced if produce_code(produced) == ErrorCode.NONE:
                self.end()
            case ProduceResponse() as produced if produce_code(produced) == ErrorCode.CONCURRENT_TRANSACTIONS:
                self.early += 1
                self.produce()
            case EndTxnResponse(error_code=ErrorCode.NONE) as ended:
                self.producer_id, self.epoch = ended.producer_id, ended.producer_epoch
                self.committed += 1
                return True
            case other:
                raise RuntimeError(f"{self.transactional_id} was answered {other}")
        return False


def produce_code(answer: Struct) -> int:
    """Of the one partition."""
    assert isinstance(answer, ProduceResponse)
    return answer.responses[0].partition_responses[0].error_code


def protocol_level(peer: Peer, size: int) -> Round:
    """`ROUND_S` of so many producers in one thread."""
    topic, names = prepare(peer, size)
    producers = [Producer(peer, name, topic, partition) for partition, name in enumerate(names)]
    selector = selectors.DefaultSelector()
    for producer in producers:
        producer.init()
        selector.register(producer.link.socket, selectors.EVENT_READ, producer)
    meter = Meter(peer.process)
    own_cpu_s, begun_s = time.process_time(), time.perf_counter()
    for producer in producers:
        producer.produce()
    busy = len(producers)
    while busy:
        ready = selector.select(WAIT_S)
        if not ready:
            raise RuntimeError(f"{peer.name} answered nothing for {WAIT_S} s")
        for key, _ in ready:
            if not key.data.react():
                continue
            if time.perf_counter() - begun_s < ROUND_S:
                key.data.produce()
            else:
                busy -= 1
    committed = sum(producer.committed for producer in producers)
    took_s = time.perf_counter() - begun_s
    own_cpu_s = time.process_time() - own_cpu_s
    usage = meter.stop()
    for producer in producers:
        producer.link.close()
    selector.close()
    return {
        "transactions": committed,
        "per_s": committed / took_s,
        "early_per_transaction": sum(producer.early for producer in producers) / committed,
        **asdict(usage),
        "broker_cpu_us": usage.broker_cpu_s * 1e6 / committed,
        "generator_share": own_cpu_s / took_s,
    }


def librdkafka(peer: Peer, size: int) -> Round:
    """`ROUND_S` of so many producers of librdkafka, each in a thread."""
    topic, names = prepare(peer, size)
    producers = [
        LibrdkafkaProducer(
            {"bootstrap.servers": peer.process.bootstrap, "transactional.id": name, "linger.ms": 0, "log_level": 0}
        )
        for name in names
    ]
    for producer in producers:
        producer.init_transactions(WAIT_S)
    counts = [0] * size
    failed: list[BaseException] = []
    meter = Meter(peer.process)
    own_cpu_s, begun_s = time.process_time(), time.perf_counter()

    def work(number: int) -> None:
        producer = producers[number]
        try:
            while time.perf_counter() - begun_s < ROUND_S:
                producer.begin_transaction()
                producer.produce(topic, VALUE, partition=number)
                producer.commit_transaction(WAIT_S)
                counts[number] += 1
        except BaseException as error:  # noqa: BLE001 - raised again below
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took_s = time.perf_counter() - begun_s
    own_cpu_s = time.process_time() - own_cpu_s
    usage = meter.stop()
    if failed:
        raise failed[0]
    return {
        "transactions": sum(counts),
        "per_s": sum(counts) / took_s,
        **asdict(usage),
        "broker_cpu_us": usage.broker_cpu_s * 1e6 / sum(counts),
        "generator_share": own_cpu_s / took_s,
    }


GENERATORS = {"protocol-level": protocol_level, "librdkafka": librdkafka}


def prepare(peer: Peer, size: int) -> tuple[str, list[str]]:
    """A topic, and transactional ids that nobody has used."""
    number = next(numbers)
    topic = f"transactions-{number}"
    create_topic(peer.process, topic, size)
    names = [f"{topic}-{each}" for each in range(size)]
    for name in names:
        wait_for_transactions(peer.process, name)
    return topic, names


def run(peers: Sequence[Peer], generator: str, size: int, durability: str) -> dict[str, Any]:
    """Warm-up per peer, then interleaved rounds on the same processes."""
    play = GENERATORS[generator]
    warm = {peer.name: warm_up(peer, lambda each: play(each, size), SETTLES) for peer in peers}
    rounds: dict[str, list[Round]] = {peer.name: [] for peer in peers}
    for peer in interleaved(peers, ROUNDS):
        rounds[peer.name].append(play(peer, size))
    figures = ("per_s", "broker_cpu_us", "generator_share")
    return {
        "workload": "transactions",
        "generator": generator,
        "producers": size,
        "durability": durability,
        "warm_up": warm,
        "settled": {name: settled(done, SETTLES) for name, done in warm.items()},
        "rounds": rounds,
        **{figure: {name: summary(done, figure) for name, done in rounds.items()} for figure in figures},
    }
