"""A Kafka connection with nothing between the test and the bytes.

Requests are written and answers read with `kio`, whose classes are generated from Kafka's own message files: an oracle
that shares no code with Ottla. An answer comes back as plain values (dict, list, int, str, bytes), so that two brokers'
answers compare with ==: error codes by name, durations as milliseconds, uuids as text, and a note if bytes were left
over behind the message.
"""

from __future__ import annotations

import dataclasses
import datetime
import socket
import struct
import types
import typing
import uuid
from typing import Any, Self

from kio.index import load_request_schema, load_response_schema
from kio.schema.describe_transactions.v0 import response as describe_transactions
from kio.schema.errors import ErrorCode
from kio.serial import entity_reader, entity_writer
from kio.serial.readers import tz_aware_from_i64
from kio.static.primitive import i64

API = {
    name: key
    for key, name in {
        0: "produce",
        1: "fetch",
        2: "list_offsets",
        3: "metadata",
        8: "offset_commit",
        9: "offset_fetch",
        10: "find_coordinator",
        11: "join_group",
        12: "heartbeat",
        13: "leave_group",
        14: "sync_group",
        15: "describe_groups",
        16: "list_groups",
        18: "api_versions",
        19: "create_topics",
        20: "delete_topics",
        21: "delete_records",
        22: "init_producer_id",
        23: "offset_for_leader_epoch",
        24: "add_partitions_to_txn",
        25: "add_offsets_to_txn",
        26: "end_txn",
        27: "write_txn_markers",
        28: "txn_offset_commit",
        32: "describe_configs",
        33: "alter_configs",
        35: "describe_log_dirs",
        37: "create_partitions",
        42: "delete_groups",
        44: "incremental_alter_configs",
        47: "offset_delete",
        60: "describe_cluster",
        61: "describe_producers",
        65: "describe_transactions",
        66: "list_transactions",
        68: "consumer_group_heartbeat",
        69: "consumer_group_describe",
        74: "list_config_resources",
        75: "describe_topic_partitions",
    }.items()
}
Plain = dict[str, Any]


def _with_types(entity: Any, **types: tuple[Any, str | None]) -> Any:
    """A class of kio's with other types for some fields; its own is left as it is for those who test with it."""
    made = []
    for each in dataclasses.fields(entity):
        kind, kafka_type = types.get(each.name, (each.type, each.metadata.get("kafka_type")))
        metadata = {} if kafka_type is None else {"kafka_type": kafka_type}
        made.append((each.name, kind, dataclasses.field(metadata=metadata)))
    kept = {name: value for name, value in vars(entity).items() if name in KIO_CLASS_VARIABLES}
    return dataclasses.make_dataclass(entity.__name__, made, namespace=kept, frozen=True, kw_only=True)


KIO_CLASS_VARIABLES = {"__type__", "__version__", "__flexible__", "__api_key__", "__header_schema__"}
# When a transaction began may be -1, which kio takes for none.
TRANSACTION = _with_types(describe_transactions.TransactionState, transaction_start_time=(i64, "int64"))
ANSWERS = {
    ("describe_transactions", 0): _with_types(
        describe_transactions.DescribeTransactionsResponse,
        transaction_states=(tuple[TRANSACTION, ...], None),  # type: ignore[valid-type]  # made above
    )
}


def make(kind: Any, value: Any) -> Any:
    """A value of a kio field from a plain one; a dict becomes the nested entity, fields that it does not name take
    their default.
    """
    if value is None:
        return None
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        (kind,) = (choice for choice in typing.get_args(kind) if choice is not type(None))
        return make(kind, value)
    if origin is tuple:
        item = typing.get_args(kind)[0]
        return tuple(make(item, each) for each in value)
    if dataclasses.is_dataclass(kind):
        return make_entity(typing.cast(type, kind), value)
    if issubclass(kind, datetime.timedelta):
        return kind.parse(datetime.timedelta(milliseconds=value))
    if issubclass(kind, datetime.datetime):
        return tz_aware_from_i64(i64(value))
    if issubclass(kind, ErrorCode):
        return ErrorCode(value)
    if issubclass(kind, uuid.UUID):
        return uuid.UUID(value) if isinstance(value, str) else value
    return value


def make_entity(entity: type, given: Plain) -> Any:
    """The entity with the given fields. Fields the version does not have are left out; missing ones are zero or
    empty.
    """
    filled: Plain = {}
    for field in dataclasses.fields(entity):
        if field.name in given:
            filled[field.name] = make(field.type, given[field.name])
        elif field.default is dataclasses.MISSING:
            filled[field.name] = zero(field.type)
    return entity(**filled)


def zero(kind: Any) -> Any:
    """What a field is when the test does not care: null, empty or 0."""
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        return None
    if origin is tuple:
        return ()
    if dataclasses.is_dataclass(kind):
        return make_entity(typing.cast(type, kind), {})
    if issubclass(kind, datetime.timedelta | datetime.datetime):
        return make(kind, 0)
    return {bool: False, str: "", bytes: b"", float: 0.0}.get(
        next(b for b in (bool, str, bytes, float, int) if issubclass(kind, b)), 0
    )


def plain(value: Any) -> Any:
    """The reverse of `make`: an entity as a dict of simple values."""
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [plain(each) for each in value]
    if isinstance(value, ErrorCode):
        return value.name
    if isinstance(value, datetime.timedelta):
        return round(value.total_seconds() * 1000)
    if isinstance(value, datetime.datetime):
        return round(value.timestamp() * 1000)
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    return value


def encode(entity: Any) -> bytes:
    buffer = bytearray()

    class Sink:
        def write(self, data: bytes) -> int:
            buffer.extend(data)
            return len(data)

    entity_writer(type(entity))(Sink(), entity)  # type: ignore[arg-type]
    return bytes(buffer)


def request_bytes(api: str, version: int, correlation_id: int, client_id: str | None, fields: Plain) -> bytes:
    """Header and body of a well-formed request, without the length in front."""
    schema = load_request_schema(API[api], version)
    header_schema = schema.__header_schema__
    header = header_schema(
        request_api_key=API[api],  # type: ignore[arg-type]
        request_api_version=version,  # type: ignore[arg-type]
        correlation_id=correlation_id,  # type: ignore[arg-type]
        client_id=client_id,
    )
    return encode(header) + encode(make_entity(schema, fields))


def framed(message: bytes) -> bytes:
    return struct.pack(">i", len(message)) + message


def decode_response(api: str, version: int, frame: bytes) -> tuple[int, Plain]:
    """Correlation id and answer of one frame."""
    schema = ANSWERS.get((api, version)) or load_response_schema(API[api], version)
    header, size = entity_reader(schema.__header_schema__)(frame, 0)
    answer, used = entity_reader(schema)(frame, size)
    result: Plain = plain(answer)
    if size + used != len(frame):
        result["left_over"] = frame[size + used :].hex()
    return int(header.correlation_id), result


class Closed(Exception):
    """The broker closed the connection."""


class Connection:
    """One connection. `ask` is the well-formed way, `send` and `receive` the raw one."""

    def __init__(self, host: str, port: int, client_id: str | None = "wire", timeout_s: float = 10) -> None:
        self.socket = socket.create_connection((host, port), timeout=timeout_s)
        self.client_id = client_id
        self._correlation = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        try:
            self.socket.sendall(data)
        except ConnectionError as error:
            raise Closed from error

    def receive(self) -> bytes:
        """The next frame without its length; raises Closed at the end of the stream."""
        (length,) = struct.unpack(">i", self._exactly(4))
        return self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            try:
                part = self.socket.recv(count - len(parts))
            except ConnectionError as error:
                raise Closed from error
            if not part:
                raise Closed
            parts += part
        return bytes(parts)

    def submit(self, api: str, version: int, **fields: Any) -> int:
        """Sends a request without reading its answer; returns its correlation id."""
        self._correlation += 1
        self.send(framed(request_bytes(api, version, self._correlation, self.client_id, fields)))
        return self._correlation

    def ask(self, api: str, version: int, **fields: Any) -> Plain:
        """One request and its decoded answer."""
        expected = self.submit(api, version, **fields)
        correlation_id, answer = decode_response(api, version, self.receive())
        assert correlation_id == expected, "answers of a connection come in order"
        return answer

    def closed_by_peer(self) -> bool:
        """True once the broker has closed; answers still in flight are read over. False if the time-out passes
        first.
        """
        try:
            while True:
                self.receive()
        except Closed:
            return True
        except TimeoutError:
            return False
