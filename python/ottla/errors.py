"""Errors, and the protocol's error codes.

Our own exceptions are sorted by what the caller does next:

    OttlaError
    |-- Retry                try again: the state that refused will pass
    |   |-- NotReady         still starting, or already stopping
    |   |-- NoRoom           the disk is full: nothing was appended, and reading goes on
    |   `-- Unreachable      no broker answered in time at the address given
    |-- InvalidInput         fix what was given
    |   |-- ConfigError      settings: all problems at once, each with name, value and allowed range
    |   |-- OffsetOutOfRange no record is, or will be, at this offset: it was deleted, or lies beyond the end
    |   |-- RecordTooLarge   it does not fit in a segment
    |   |-- UnfitValue       a value does not fit the columns that were asked for
    |   |-- ReadOnly         it was opened to be read, and is another's to write
    |   `-- RequestError     one request or item of it; carries the `ErrorCode` the client is answered
    |-- Reopen               this opening cannot go on; opening again may
    |   |-- Closed           it was closed
    |   |-- Forked           it belongs to the process that this one was forked from
    |   |-- Overtaken        its owner has truncated or compacted what was to be read next: begin a new read
    |   |-- DirectoryInUse   another holder has the data directory
    |   `-- StorageError     the disk refused; what was acknowledged is safe, the rest is not known
    |       `-- NewerFormat  the directory was written by a later version
    `-- Report               a bug of ours: nothing the caller did, please report
        `-- CodecError       a value does not fit its message

`ErrorCode` has every code of Kafka 4.3. A client sees the number; `message` is the sentence sent beside it when the
answer has room for one and the handler has nothing more exact to say. `retriable` says whether Kafka's own clients
try again by themselves.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class OttlaError(Exception):
    """Base of everything Ottla raises on purpose."""


class Retry(OttlaError):
    """Try again: the state that refused will pass."""


class NotReady(Retry):
    """The broker is still starting, or already stopping."""


class NoRoom(Retry):
    """The disk is full. Nothing was appended; what is there can be read, and deleted."""


class Unreachable(Retry):
    """A broker cannot be connected to, or did not answer in time, or what answers is no broker."""


class InvalidInput(OttlaError):
    """Fix what was given."""


class ConfigError(InvalidInput):
    """Settings that cannot be used. `problems` has one sentence for each of them."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


class RequestError(InvalidInput):
    """A request, or one item of it, is refused with a code of the protocol."""

    def __init__(self, code: ErrorCode, message: str | None = None) -> None:
        self.code = code
        self.message = code.message if message is None else message
        super().__init__(self.message)


class OffsetOutOfRange(InvalidInput):
    """No record can be read at `requested`: the log, in `path`, holds those from `start` to below `end`."""

    def __init__(self, requested: int, start: int, end: int, path: str = "this log") -> None:
        self.requested = requested
        self.start = start
        self.end = end
        self.path = path
        what, advice = "is no offset", ""
        if 0 <= requested < start:
            what, advice = "was deleted", f"; what is left begins at {start}"
        elif requested > end:
            what = "lies beyond the end"
            advice = (
                f"; what is appended next gets {end}. A cursor that stands there is one of another log, or the end of "
                "this one was taken away: move it by commit"
            )
        super().__init__(f"offset {requested} {what}: {path} holds {start} to below {end}{advice}")


class RecordTooLarge(InvalidInput):
    """A record, or an atomic batch, does not fit in a segment. Nothing was appended."""


class UnfitValue(InvalidInput):
    """The value of the record at `offset` is not what the columns that were asked for take."""

    def __init__(self, offset: int, why: str) -> None:
        self.offset = offset
        super().__init__(f"the value at offset {offset} does not fit: {why}")


class ReadOnly(InvalidInput):
    """The log was opened with `read_only=True`: only its owner writes."""


class Reopen(OttlaError):
    """This opening cannot go on; opening again may."""


class Closed(Reopen):
    """The log was closed."""


class Forked(Reopen):
    """The log belongs to the process that this one was forked from: open it again, here or there."""


class Overtaken(Reopen):
    """The owner of the log, another process, has truncated or compacted what this reader was to read next.

    Nothing is wrong with the log: begin to read again, where is for the program to know.
    """


class DirectoryInUse(Reopen):
    """Another holder (process or opener in this process) has the data directory."""


class StorageError(Reopen):
    """The disk refused to read or write."""


class NewerFormat(StorageError):
    """The data directory was written by a later version than this one."""


class Report(OttlaError):
    """A bug in Ottla."""


class CodecError(Report):
    """A value does not fit the message, or the version, it is to be written as."""


class ErrorCode(IntEnum):
    """Every error code of the Kafka 4.3 protocol."""

    UNKNOWN_SERVER_ERROR = -1
    NONE = 0
    OFFSET_OUT_OF_RANGE = 1
    CORRUPT_MESSAGE = 2
    UNKNOWN_TOPIC_OR_PARTITION = 3
    INVALID_FETCH_SIZE = 4
    LEADER_NOT_AVAILABLE = 5
    NOT_LEADER_OR_FOLLOWER = 6
    REQUEST_TIMED_OUT = 7
    BROKER_NOT_AVAILABLE = 8
    REPLICA_NOT_AVAILABLE = 9
    MESSAGE_TOO_LARGE = 10
    STALE_CONTROLLER_EPOCH = 11
    OFFSET_METADATA_TOO_LARGE = 12
    NETWORK_EXCEPTION = 13
    COORDINATOR_LOAD_IN_PROGRESS = 14
    COORDINATOR_NOT_AVAILABLE = 15
    NOT_COORDINATOR = 16
    INVALID_TOPIC_EXCEPTION = 17
    RECORD_LIST_TOO_LARGE = 18
    NOT_ENOUGH_REPLICAS = 19
    NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20
    INVALID_REQUIRED_ACKS = 21
    ILLEGAL_GENERATION = 22
    INCONSISTENT_GROUP_PROTOCOL = 23
    INVALID_GROUP_ID = 24
    UNKNOWN_MEMBER_ID = 25
    INVALID_SESSION_TIMEOUT = 26
    REBALANCE_IN_PROGRESS = 27
    INVALID_COMMIT_OFFSET_SIZE = 28
    TOPIC_AUTHORIZATION_FAILED = 29
    GROUP_AUTHORIZATION_FAILED = 30
    CLUSTER_AUTHORIZATION_FAILED = 31
    INVALID_TIMESTAMP = 32
    UNSUPPORTED_SASL_MECHANISM = 33
    ILLEGAL_SASL_STATE = 34
    UNSUPPORTED_VERSION = 35
    TOPIC_ALREADY_EXISTS = 36
    INVALID_PARTITIONS = 37
    INVALID_REPLICATION_FACTOR = 38
    INVALID_REPLICA_ASSIGNMENT = 39
    INVALID_CONFIG = 40
    NOT_CONTROLLER = 41
    INVALID_REQUEST = 42
    UNSUPPORTED_FOR_MESSAGE_FORMAT = 43
    POLICY_VIOLATION = 44
    OUT_OF_ORDER_SEQUENCE_NUMBER = 45
    DUPLICATE_SEQUENCE_NUMBER = 46
    INVALID_PRODUCER_EPOCH = 47
    INVALID_TXN_STATE = 48
    INVALID_PRODUCER_ID_MAPPING = 49
    INVALID_TRANSACTION_TIMEOUT = 50
    CONCURRENT_TRANSACTIONS = 51
    TRANSACTION_COORDINATOR_FENCED = 52
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53
    SECURITY_DISABLED = 54
    OPERATION_NOT_ATTEMPTED = 55
    KAFKA_STORAGE_ERROR = 56
    LOG_DIR_NOT_FOUND = 57
    SASL_AUTHENTICATION_FAILED = 58
    UNKNOWN_PRODUCER_ID = 59
    REASSIGNMENT_IN_PROGRESS = 60
    DELEGATION_TOKEN_AUTH_DISABLED = 61
    DELEGATION_TOKEN_NOT_FOUND = 62
    DELEGATION_TOKEN_OWNER_MISMATCH = 63
    DELEGATION_TOKEN_REQUEST_NOT_ALLOWED = 64
    DELEGATION_TOKEN_AUTHORIZATION_FAILED = 65
    DELEGATION_TOKEN_EXPIRED = 66
    INVALID_PRINCIPAL_TYPE = 67
    NON_EMPTY_GROUP = 68
    GROUP_ID_NOT_FOUND = 69
    FETCH_SESSION_ID_NOT_FOUND = 70
    INVALID_FETCH_SESSION_EPOCH = 71
    LISTENER_NOT_FOUND = 72
    TOPIC_DELETION_DISABLED = 73
    FENCED_LEADER_EPOCH = 74
    UNKNOWN_LEADER_EPOCH = 75
    UNSUPPORTED_COMPRESSION_TYPE = 76
    STALE_BROKER_EPOCH = 77
    OFFSET_NOT_AVAILABLE = 78
    MEMBER_ID_REQUIRED = 79
    PREFERRED_LEADER_NOT_AVAILABLE = 80
    GROUP_MAX_SIZE_REACHED = 81
    FENCED_INSTANCE_ID = 82
    ELIGIBLE_LEADERS_NOT_AVAILABLE = 83
    ELECTION_NOT_NEEDED = 84
    NO_REASSIGNMENT_IN_PROGRESS = 85
    GROUP_SUBSCRIBED_TO_TOPIC = 86
    INVALID_RECORD = 87
    UNSTABLE_OFFSET_COMMIT = 88
    THROTTLING_QUOTA_EXCEEDED = 89
    PRODUCER_FENCED = 90
    RESOURCE_NOT_FOUND = 91
    DUPLICATE_RESOURCE = 92
    UNACCEPTABLE_CREDENTIAL = 93
    INCONSISTENT_VOTER_SET = 94
    INVALID_UPDATE_VERSION = 95
    FEATURE_UPDATE_FAILED = 96
    PRINCIPAL_DESERIALIZATION_FAILURE = 97
    SNAPSHOT_NOT_FOUND = 98
    POSITION_OUT_OF_RANGE = 99
    UNKNOWN_TOPIC_ID = 100
    DUPLICATE_BROKER_REGISTRATION = 101
    BROKER_ID_NOT_REGISTERED = 102
    INCONSISTENT_TOPIC_ID = 103
    INCONSISTENT_CLUSTER_ID = 104
    TRANSACTIONAL_ID_NOT_FOUND = 105
    FETCH_SESSION_TOPIC_ID_ERROR = 106
    INELIGIBLE_REPLICA = 107
    NEW_LEADER_ELECTED = 108
    OFFSET_MOVED_TO_TIERED_STORAGE = 109
    FENCED_MEMBER_EPOCH = 110
    UNRELEASED_INSTANCE_ID = 111
    UNSUPPORTED_ASSIGNOR = 112
    STALE_MEMBER_EPOCH = 113
    MISMATCHED_ENDPOINT_TYPE = 114
    UNSUPPORTED_ENDPOINT_TYPE = 115
    UNKNOWN_CONTROLLER_ID = 116
    UNKNOWN_SUBSCRIPTION_ID = 117
    TELEMETRY_TOO_LARGE = 118
    INVALID_REGISTRATION = 119
    TRANSACTION_ABORTABLE = 120
    INVALID_RECORD_STATE = 121
    SHARE_SESSION_NOT_FOUND = 122
    INVALID_SHARE_SESSION_EPOCH = 123
    FENCED_STATE_EPOCH = 124
    INVALID_VOTER_KEY = 125
    DUPLICATE_VOTER = 126
    VOTER_NOT_FOUND = 127
    INVALID_REGULAR_EXPRESSION = 128
    REBOOTSTRAP_REQUIRED = 129
    STREAMS_INVALID_TOPOLOGY = 130
    STREAMS_INVALID_TOPOLOGY_EPOCH = 131
    STREAMS_TOPOLOGY_FENCED = 132
    SHARE_SESSION_LIMIT_REACHED = 133

    @property
    def message(self) -> str:
        """One sentence for people."""
        return _MESSAGES[self]

    @property
    def retriable(self) -> bool:
        """Whether Kafka's clients try again by themselves."""
        return self in _RETRIABLE


_MESSAGES: dict[ErrorCode, str] = {
    ErrorCode.UNKNOWN_SERVER_ERROR: "The broker met an error it did not expect while serving the request.",
    ErrorCode.NONE: "No error.",
    ErrorCode.OFFSET_OUT_OF_RANGE: "The offset lies outside what the partition holds.",
    ErrorCode.CORRUPT_MESSAGE: "A record batch is damaged, too large, or without a key on a compacted topic.",
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: "This topic or partition does not exist here.",
    ErrorCode.INVALID_FETCH_SIZE: "The fetch size is not valid.",
    ErrorCode.LEADER_NOT_AVAILABLE: "The partition has no leader at the moment.",
    ErrorCode.NOT_LEADER_OR_FOLLOWER: "This broker is not the leader of the partition, or holds no replica of it.",
    ErrorCode.REQUEST_TIMED_OUT: "The request was not finished in time.",
    ErrorCode.BROKER_NOT_AVAILABLE: "The broker is not available.",
    ErrorCode.REPLICA_NOT_AVAILABLE: "The replica asked for is not available.",
    ErrorCode.MESSAGE_TOO_LARGE: "A record batch is larger than the topic takes.",
    ErrorCode.STALE_CONTROLLER_EPOCH: "The controller is on another broker now.",
    ErrorCode.OFFSET_METADATA_TOO_LARGE: "The metadata text of a committed offset is too long.",
    ErrorCode.NETWORK_EXCEPTION: "The connection ended before an answer came.",
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS: "The coordinator is still reading its state.",
    ErrorCode.COORDINATOR_NOT_AVAILABLE: "The coordinator is not available.",
    ErrorCode.NOT_COORDINATOR: "This broker is not the coordinator asked for.",
    ErrorCode.INVALID_TOPIC_EXCEPTION: "The topic name is not valid, or the operation is not allowed on this topic.",
    ErrorCode.RECORD_LIST_TOO_LARGE: "A record batch is larger than a segment of the topic may be.",
    ErrorCode.NOT_ENOUGH_REPLICAS: "Fewer replicas are in sync than the topic asks for.",
    ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND: "Written, but fewer replicas are in sync than the topic asks for.",
    ErrorCode.INVALID_REQUIRED_ACKS: "The acks of a produce request must be 0, 1 or -1.",
    ErrorCode.ILLEGAL_GENERATION: "The generation of the group is not the one given.",
    ErrorCode.INCONSISTENT_GROUP_PROTOCOL: "The member shares no protocol with the group, or named none.",
    ErrorCode.INVALID_GROUP_ID: "The group id is not valid.",
    ErrorCode.UNKNOWN_MEMBER_ID: "The coordinator does not know this member.",
    ErrorCode.INVALID_SESSION_TIMEOUT: "The session timeout is outside group.min/max.session.timeout.ms.",
    ErrorCode.REBALANCE_IN_PROGRESS: "The group is rebalancing: join again.",
    ErrorCode.INVALID_COMMIT_OFFSET_SIZE: "The committed offsets are too large.",
    ErrorCode.TOPIC_AUTHORIZATION_FAILED: "Not authorized for the topic.",
    ErrorCode.GROUP_AUTHORIZATION_FAILED: "Not authorized for the group.",
    ErrorCode.CLUSTER_AUTHORIZATION_FAILED: "Not authorized for the cluster.",
    ErrorCode.INVALID_TIMESTAMP: "A record's timestamp is outside what the topic accepts.",
    ErrorCode.UNSUPPORTED_SASL_MECHANISM: "The SASL mechanism is not one of those enabled.",
    ErrorCode.ILLEGAL_SASL_STATE: "The request does not fit the state of the SASL exchange.",
    ErrorCode.UNSUPPORTED_VERSION: "This version of the request is not served.",
    ErrorCode.TOPIC_ALREADY_EXISTS: "A topic of this name exists already.",
    ErrorCode.INVALID_PARTITIONS: "The number of partitions must be at least 1.",
    ErrorCode.INVALID_REPLICATION_FACTOR: "The replication factor must be 1 to the number of available brokers.",
    ErrorCode.INVALID_REPLICA_ASSIGNMENT: "The replica assignment is not valid.",
    ErrorCode.INVALID_CONFIG: "A configuration is not valid.",
    ErrorCode.NOT_CONTROLLER: "This broker is not the controller.",
    ErrorCode.INVALID_REQUEST: "The request contradicts itself or the protocol; the broker's log may say more.",
    ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT: "The topic's message format does not allow this request.",
    ErrorCode.POLICY_VIOLATION: "The request goes against a policy of this cluster.",
    ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER: "The producer's sequence number is not the next one.",
    ErrorCode.DUPLICATE_SEQUENCE_NUMBER: "The producer's sequence number was seen before.",
    ErrorCode.INVALID_PRODUCER_EPOCH: "The producer's epoch is older than the current one.",
    ErrorCode.INVALID_TXN_STATE: "The transaction's state does not allow the operation.",
    ErrorCode.INVALID_PRODUCER_ID_MAPPING: "The producer id is not the one that belongs to the transactional id.",
    ErrorCode.INVALID_TRANSACTION_TIMEOUT: "The transaction timeout exceeds transaction.max.timeout.ms.",
    ErrorCode.CONCURRENT_TRANSACTIONS: "Another operation on this transaction is still under way.",
    ErrorCode.TRANSACTION_COORDINATOR_FENCED: "A newer transaction coordinator has taken over this producer.",
    ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "Not authorized for the transactional id.",
    ErrorCode.SECURITY_DISABLED: "Security features are switched off.",
    ErrorCode.OPERATION_NOT_ATTEMPTED: "The operation was not tried, since another one of the same request failed.",
    ErrorCode.KAFKA_STORAGE_ERROR: "The log directory reported an error.",
    ErrorCode.LOG_DIR_NOT_FOUND: "The broker has no log directory of this path.",
    ErrorCode.SASL_AUTHENTICATION_FAILED: "Authentication failed.",
    ErrorCode.UNKNOWN_PRODUCER_ID: "The partition holds no state of this producer id.",
    ErrorCode.REASSIGNMENT_IN_PROGRESS: "The partition is being reassigned.",
    ErrorCode.DELEGATION_TOKEN_AUTH_DISABLED: "Delegation tokens are switched off.",
    ErrorCode.DELEGATION_TOKEN_NOT_FOUND: "There is no such delegation token.",
    ErrorCode.DELEGATION_TOKEN_OWNER_MISMATCH: "The principal neither owns the token nor may renew it.",
    ErrorCode.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED: "Delegation tokens are not handed out on this kind of connection.",
    ErrorCode.DELEGATION_TOKEN_AUTHORIZATION_FAILED: "Not authorized for the delegation token.",
    ErrorCode.DELEGATION_TOKEN_EXPIRED: "The delegation token has expired.",
    ErrorCode.INVALID_PRINCIPAL_TYPE: "This type of principal is not supported.",
    ErrorCode.NON_EMPTY_GROUP: "The group still has members.",
    ErrorCode.GROUP_ID_NOT_FOUND: "There is no group of this id.",
    ErrorCode.FETCH_SESSION_ID_NOT_FOUND: "There is no fetch session of this id.",
    ErrorCode.INVALID_FETCH_SESSION_EPOCH: "The epoch of the fetch session is not the next one.",
    ErrorCode.LISTENER_NOT_FOUND: "The leader has no listener that matches the one the request came through.",
    ErrorCode.TOPIC_DELETION_DISABLED: "Deleting topics is switched off.",
    ErrorCode.FENCED_LEADER_EPOCH: "The leader epoch given is older than the broker's.",
    ErrorCode.UNKNOWN_LEADER_EPOCH: "The leader epoch given is newer than the broker's.",
    ErrorCode.UNSUPPORTED_COMPRESSION_TYPE: "The client cannot read the compression of this partition.",
    ErrorCode.STALE_BROKER_EPOCH: "The broker's epoch has changed.",
    ErrorCode.OFFSET_NOT_AVAILABLE: "The new leader does not know the high watermark yet.",
    ErrorCode.MEMBER_ID_REQUIRED: "Join again with the member id given here.",
    ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE: "The preferred leader is not available.",
    ErrorCode.GROUP_MAX_SIZE_REACHED: "The group has as many members as it may have.",
    ErrorCode.FENCED_INSTANCE_ID: "Another member uses this group.instance.id.",
    ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE: "No replica that may lead is available.",
    ErrorCode.ELECTION_NOT_NEEDED: "The partition has the leader it should have.",
    ErrorCode.NO_REASSIGNMENT_IN_PROGRESS: "The partition is not being reassigned.",
    ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC: "The group is subscribed to the topic, so its offsets cannot be deleted.",
    ErrorCode.INVALID_RECORD: "A record does not pass the broker's checks.",
    ErrorCode.UNSTABLE_OFFSET_COMMIT: "Offsets of an open transaction are pending.",
    ErrorCode.THROTTLING_QUOTA_EXCEEDED: "The quota is used up for now.",
    ErrorCode.PRODUCER_FENCED: "A newer producer of the same transactional id has taken over.",
    ErrorCode.RESOURCE_NOT_FOUND: "The resource named does not exist.",
    ErrorCode.DUPLICATE_RESOURCE: "The same resource is named twice.",
    ErrorCode.UNACCEPTABLE_CREDENTIAL: "The credential is not acceptable.",
    ErrorCode.INCONSISTENT_VOTER_SET: "Sender or receiver is not among the expected voters.",
    ErrorCode.INVALID_UPDATE_VERSION: "The version of the update is not valid.",
    ErrorCode.FEATURE_UPDATE_FAILED: "The finalized features could not be updated.",
    ErrorCode.PRINCIPAL_DESERIALIZATION_FAILURE: "The forwarded principal could not be read.",
    ErrorCode.SNAPSHOT_NOT_FOUND: "There is no such snapshot.",
    ErrorCode.POSITION_OUT_OF_RANGE: "The position lies outside the snapshot.",
    ErrorCode.UNKNOWN_TOPIC_ID: "No topic with this id exists here.",
    ErrorCode.DUPLICATE_BROKER_REGISTRATION: "A broker of this id is registered already.",
    ErrorCode.BROKER_ID_NOT_REGISTERED: "No broker of this id is registered.",
    ErrorCode.INCONSISTENT_TOPIC_ID: "The topic id is not the one of the log.",
    ErrorCode.INCONSISTENT_CLUSTER_ID: "The cluster id is not this cluster's.",
    ErrorCode.TRANSACTIONAL_ID_NOT_FOUND: "There is no such transactional id.",
    ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR: "The fetch session mixes topic names and topic ids.",
    ErrorCode.INELIGIBLE_REPLICA: "A replica of the new in-sync set may not be in it.",
    ErrorCode.NEW_LEADER_ELECTED: "The change was made, and the partition has a new leader.",
    ErrorCode.OFFSET_MOVED_TO_TIERED_STORAGE: "The offset has moved to tiered storage.",
    ErrorCode.FENCED_MEMBER_EPOCH: "The member's epoch is fenced: give up all partitions and join again.",
    ErrorCode.UNRELEASED_INSTANCE_ID: "Another member still uses this instance id.",
    ErrorCode.UNSUPPORTED_ASSIGNOR: "The group does not support this assignor or its version.",
    ErrorCode.STALE_MEMBER_EPOCH: "The member's epoch is old: take the one of the next heartbeat and try again.",
    ErrorCode.MISMATCHED_ENDPOINT_TYPE: "The request belongs to another kind of endpoint.",
    ErrorCode.UNSUPPORTED_ENDPOINT_TYPE: "This kind of endpoint is not supported.",
    ErrorCode.UNKNOWN_CONTROLLER_ID: "There is no controller of this id.",
    ErrorCode.UNKNOWN_SUBSCRIPTION_ID: "The telemetry subscription is unknown or out of date.",
    ErrorCode.TELEMETRY_TOO_LARGE: "The telemetry is larger than the broker takes.",
    ErrorCode.INVALID_REGISTRATION: "The broker's registration is not valid.",
    ErrorCode.TRANSACTION_ABORTABLE: "The transaction failed; abort it and the transactional id stays usable.",
    ErrorCode.INVALID_RECORD_STATE: "The record's state does not allow the acknowledgement.",
    ErrorCode.SHARE_SESSION_NOT_FOUND: "There is no such share session.",
    ErrorCode.INVALID_SHARE_SESSION_EPOCH: "The epoch of the share session is not the next one.",
    ErrorCode.FENCED_STATE_EPOCH: "The state epoch of the share group does not match.",
    ErrorCode.INVALID_VOTER_KEY: "The voter key is not the receiver's.",
    ErrorCode.DUPLICATE_VOTER: "The voter is in the set already.",
    ErrorCode.VOTER_NOT_FOUND: "The voter is not in the set.",
    ErrorCode.INVALID_REGULAR_EXPRESSION: "The regular expression is not valid.",
    ErrorCode.REBOOTSTRAP_REQUIRED: "The client's metadata is too old: bootstrap again.",
    ErrorCode.STREAMS_INVALID_TOPOLOGY: "The topology is not valid.",
    ErrorCode.STREAMS_INVALID_TOPOLOGY_EPOCH: "The epoch of the topology is not valid.",
    ErrorCode.STREAMS_TOPOLOGY_FENCED: "The epoch of the topology is out of date.",
    ErrorCode.SHARE_SESSION_LIMIT_REACHED: "There are as many share sessions as there may be.",
}

_RETRIABLE = frozenset(
    {
        ErrorCode.CORRUPT_MESSAGE,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.LEADER_NOT_AVAILABLE,
        ErrorCode.NOT_LEADER_OR_FOLLOWER,
        ErrorCode.REQUEST_TIMED_OUT,
        ErrorCode.REPLICA_NOT_AVAILABLE,
        ErrorCode.NETWORK_EXCEPTION,
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.NOT_COORDINATOR,
        ErrorCode.NOT_ENOUGH_REPLICAS,
        ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        ErrorCode.NOT_CONTROLLER,
        ErrorCode.CONCURRENT_TRANSACTIONS,
        ErrorCode.KAFKA_STORAGE_ERROR,
        ErrorCode.FETCH_SESSION_ID_NOT_FOUND,
        ErrorCode.INVALID_FETCH_SESSION_EPOCH,
        ErrorCode.LISTENER_NOT_FOUND,
        ErrorCode.FENCED_LEADER_EPOCH,
        ErrorCode.UNKNOWN_LEADER_EPOCH,
        ErrorCode.OFFSET_NOT_AVAILABLE,
        ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE,
        ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE,
        ErrorCode.ELECTION_NOT_NEEDED,
        ErrorCode.UNSTABLE_OFFSET_COMMIT,
        ErrorCode.THROTTLING_QUOTA_EXCEEDED,
        ErrorCode.UNKNOWN_TOPIC_ID,
        ErrorCode.INCONSISTENT_TOPIC_ID,
        ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR,
        ErrorCode.SHARE_SESSION_NOT_FOUND,
        ErrorCode.INVALID_SHARE_SESSION_EPOCH,
        ErrorCode.SHARE_SESSION_LIMIT_REACHED,
    }
)
