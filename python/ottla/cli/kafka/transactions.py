"""`kafka-transactions`: what transactions there are, and which of them hang.

Kafka: org.apache.kafka.tools.TransactionsCommand, whose words are read by argparse4j.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NoReturn

from ottla.cli.kafka import words
from ottla.cli.kafka.arguments import Arguments
from ottla.cli.kafka.connection import NoFile, admin, properties_of
from ottla.cli.kafka.usage import ToolExit, complain, say
from ottla.errors import ErrorCode, OttlaError, RequestError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable, Sequence

    from ottla.admin import Admin, OpenProducer, TopicPartition

_MINUTE_MS = 60_000
# Partitions of one question.
_BATCH = 500


def run(arguments: Sequence[str]) -> int:
    """Run the tool."""
    told = _parser().parse(arguments)
    try:
        settings = properties_of(told.command_config) if told.command_config else {}
        with admin(told.bootstrap_server, settings, client_id="kafka-transactions") as client:
            _COMMANDS[told.command](client, told)
    except NoFile as error:
        _end(f"Failed to load admin client properties: {error}. Enable debug logging for additional detail.")
    except OttlaError as error:
        _fail(_FAILED[told.command], error)
    return 0


def _parser() -> Arguments:
    parser = Arguments("kafka-transactions", "Transactions of producers: which there are, and which of them hang.")
    parser.option("--command-config", metavar="FILE", help="A file of client settings.")
    parser.option("--bootstrap-server", metavar="host:port", required=True, help="Where the cluster is found.")
    command = parser.command("list", "List transactions.")
    command.add_argument("--duration-filter", type=int, help="Only what has been open longer, in milliseconds.")
    command.add_argument("--transactional-id-pattern", help="Only ids this regular expression matches.")
    command = parser.command("describe", "Describe the transaction of an id.")
    command.add_argument("--transactional-id", required=True, help="The id.")
    command = parser.command("describe-producers", "Show who writes to a partition.")
    command.add_argument("--broker-id", type=int, help="The replica on this broker, not the leader.")
    _add_partition(command, required=True)
    command = parser.command("abort", "End a hanging transaction in a partition.")
    _add_partition(command, required=True)
    command.add_argument("--start-offset", type=int, help="Where the transaction begins in the partition.")
    command.add_argument("--producer-id", type=int, help="Or, for brokers before 3.0, its producer,")
    command.add_argument("--producer-epoch", type=int, help="its epoch")
    command.add_argument("--coordinator-epoch", type=int, help="and the epoch of its coordinator.")
    command = parser.command("find-hanging", "Find transactions nobody will end.")
    command.add_argument("--broker-id", type=int, help="Only partitions with a replica there.")
    command.add_argument(
        "--max-transaction-timeout", type=int, default=15, help="Only what has been open longer, in minutes (15)."
    )
    _add_partition(command, required=False)
    command = parser.command("forceTerminateTransaction", "Abort what an id has open.")
    command.add_argument("--transactionalId", dest="transactional_id", required=True, help="The id.")
    return parser


def _add_partition(command: Any, *, required: bool) -> None:
    command.add_argument("--topic", required=required, help="The topic.")
    command.add_argument("--partition", type=int, required=required, help="The partition.")


def _end(said: str) -> NoReturn:
    complain(said)
    raise ToolExit(1)


def _fail(said: str, error: OttlaError) -> NoReturn:
    _end(f"{said}: {words.message(error)}. Enable debug logging for additional detail.")


def _place(told: Namespace) -> TopicPartition:
    from ottla.admin import TopicPartition

    return TopicPartition(told.topic, told.partition)


def _table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns as wide as their widest cell, each followed by a tabulator."""
    texts = [list(headers), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(text[column]) for text in texts) for column in range(len(headers))]
    for text in texts:
        say("".join(f"{cell:<{width}}\t" for cell, width in zip(text, widths, strict=True)))


# Commands.


def _list(client: Admin, told: Namespace) -> None:
    found = client.list_transactions(longer_than_ms=told.duration_filter, pattern=told.transactional_id_pattern or None)
    _table(
        ("TransactionalId", "Coordinator", "ProducerId", "TransactionState"),
        [(each.transactional_id, each.coordinator_id, each.producer_id, each.state) for each in found],
    )


def _describe(client: Admin, told: Namespace) -> None:
    name = told.transactional_id
    found = client.describe_transactions([name])[name]
    if isinstance(found, RequestError):
        if found.code is ErrorCode.TRANSACTIONAL_ID_NOT_FOUND:
            reason = (
                f"DescribeTransactions request for transactionalId `{name}` failed because the ID could not be found"
            )
            found = RequestError(found.code, reason)
        _fail(f"Failed to describe transaction state of transactional-id `{name}`", found)
    started_ms = found.started_ms
    duration = "None" if started_ms is None else str(_now_ms() - started_ms)
    _table(
        (
            *("CoordinatorId", "TransactionalId", "ProducerId", "ProducerEpoch", "TransactionState"),
            *("TransactionTimeoutMs", "CurrentTransactionStartTimeMs", "TransactionDurationMs", "TopicPartitions"),
        ),
        [
            (
                *(found.coordinator.broker_id, name, found.producer_id, found.producer_epoch, found.state),
                *(found.timeout_ms, "None" if started_ms is None else started_ms, duration),
                ",".join(f"{place.topic}-{place.partition}" for place in found.partitions),
            )
        ],
    )


def _describe_producers(client: Admin, told: Namespace) -> None:
    place = _place(told)
    found = client.describe_producers([place], broker_id=told.broker_id)[place]
    if isinstance(found, RequestError):
        where = "leader" if told.broker_id is None else f"broker {told.broker_id}"
        _fail(f"Failed to describe producers for partition {place.topic}-{place.partition} on {where}", found)
    _table(
        (
            *("ProducerId", "ProducerEpoch", "LatestCoordinatorEpoch", "LastSequence", "LastTimestamp"),
            "CurrentTransactionStartOffset",
        ),
        [
            (
                *(each.producer_id, each.producer_epoch, _or_none(each.coordinator_epoch)),
                *(each.last_sequence, each.last_timestamp_ms),
                "None" if each.transaction_start_offset is None else each.transaction_start_offset,
            )
            for each in found
        ],
    )


def _abort(client: Admin, told: Namespace) -> None:
    place = _place(told)
    name = f"{place.topic}-{place.partition}"
    if told.start_offset is None and told.producer_id is None:
        _end(
            "The transaction to abort must be identified either with --start-offset (for brokers on 3.0 or above) or "
            "with --producer-id, --producer-epoch, and --coordinator-epoch (for older brokers)"
        )
    if told.start_offset is None:
        for option in ("producer_epoch", "coordinator_epoch"):
            if getattr(told, option) is None:
                _end(f"Missing required argument --{option.replace('_', '-')}")
        producer = (told.producer_id, told.producer_epoch, max(told.coordinator_epoch, 0))
    else:
        found = client.describe_producers([place])[place]
        if isinstance(found, RequestError):
            _fail(f"Failed to validate producer state for partition {name}", found)
        those = [each for each in found if each.transaction_start_offset == told.start_offset]
        if not those:
            _end(f"Could not find any open transactions starting at offset {told.start_offset} on partition {name}")
        producer = (those[0].producer_id, those[0].producer_epoch, those[0].coordinator_epoch or 0)
    refused = client.abort_transaction(
        place, producer_id=producer[0], producer_epoch=producer[1], coordinator_epoch=producer[2]
    )
    if refused is not None:
        spec = (
            f"AbortTransactionSpec(topicPartition={name}, producerId={producer[0]}, producerEpoch={producer[1]}, "
            f"coordinatorEpoch={producer[2]})"
        )
        _fail(f"Failed to abort transaction {spec}", refused)


def _find_hanging(client: Admin, told: Namespace) -> None:
    if told.topic is None and told.broker_id is None:
        _end("The `find-hanging` command requires either --topic or --broker-id to limit the scope of the search")
    if told.topic is None and told.partition is not None:
        _end("The --partition argument requires --topic to be provided")
    now_ms = _now_ms()
    open_since: list[tuple[TopicPartition, OpenProducer]] = []
    places = [_place(told)] if told.partition is not None else _places(client, told)
    for start in range(0, len(places), _BATCH):
        batch = places[start : start + _BATCH]
        for place, found in client.describe_producers(batch, broker_id=told.broker_id).items():
            if isinstance(found, RequestError):
                where = "Optional.empty" if told.broker_id is None else f"Optional[{told.broker_id}]"
                _fail(f"Failed to describe producers for {len(batch)} partitions on broker {where}", found)
            open_since += [
                (place, each)
                for each in found
                if each.transaction_start_offset is not None
                and now_ms - each.last_timestamp_ms > told.max_transaction_timeout * _MINUTE_MS
            ]
    _table(
        (
            *("Topic", "Partition", "ProducerId", "ProducerEpoch", "CoordinatorEpoch", "StartOffset"),
            *("LastTimestamp", "Duration(min)"),
        ),
        [
            (
                *(place.topic, place.partition, each.producer_id, each.producer_epoch),
                *(_or_none(each.coordinator_epoch), each.transaction_start_offset, each.last_timestamp_ms),
                (now_ms - each.last_timestamp_ms) // _MINUTE_MS,
            )
            for place, each in _nobodys(client, open_since)
        ],
    )


def _places(client: Admin, told: Namespace) -> list[TopicPartition]:
    from ottla.admin import TopicPartition

    names = [topic.name for topic in client.list_topics()] if told.topic is None else [told.topic]
    found = []
    for topic in client.describe_topics(names).values():
        if isinstance(topic, RequestError):
            _fail(f"Failed to describe {len(names)} topics", topic)
        found += [
            TopicPartition(topic.name, partition.index)
            for partition in topic.partitions
            if told.broker_id is None or told.broker_id in partition.replicas
        ]
    return found


def _nobodys(
    client: Admin, open_since: list[tuple[TopicPartition, OpenProducer]]
) -> list[tuple[TopicPartition, OpenProducer]]:
    """Those whose coordinator will not end them: it does not know them, or not that partition any more."""
    if not open_since:
        return []
    listed = client.list_transactions(producer_ids={each.producer_id for _, each in open_since})
    names = {listing.producer_id: listing.transactional_id for listing in listed}
    described = client.describe_transactions(sorted(set(names.values())))
    hanging = []
    for place, each in open_since:
        found = described.get(names.get(each.producer_id, ""))
        if isinstance(found, RequestError) and found.code is not ErrorCode.TRANSACTIONAL_ID_NOT_FOUND:
            _fail(f"Failed to describe {len(described)} transactions", found)
        if found is None or isinstance(found, RequestError) or place not in found.partitions:
            hanging.append((place, each))
    return hanging


def _terminate(client: Admin, told: Namespace) -> None:
    refused = client.terminate_transaction(told.transactional_id)
    if refused is not None:
        _fail(f"Failed to force terminate transactionalId `{told.transactional_id}`", refused)


def _or_none(epoch: int | None) -> int:
    return -1 if epoch is None else epoch


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


_COMMANDS = {
    "list": _list,
    "describe": _describe,
    "describe-producers": _describe_producers,
    "abort": _abort,
    "find-hanging": _find_hanging,
    "forceTerminateTransaction": _terminate,
}
# What could not be done where no answer came.
_FAILED = {
    "list": "Failed to list transactions",
    "describe": "Failed to describe transaction state",
    "describe-producers": "Failed to describe producers",
    "abort": "Failed to abort transaction",
    "find-hanging": "Failed to list topics",
    "forceTerminateTransaction": "Failed to force terminate transaction",
}
