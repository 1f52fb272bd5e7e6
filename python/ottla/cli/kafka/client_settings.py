"""Settings of Kafka's Java producer and consumer, as librdkafka is told of them.

Most have the same name in both. Some mean the same under another name; some have no meaning in librdkafka, which has no
serializers to load and no thread pool to size, and are accepted as they are by the Java client; a setting that neither
knows is logged and ignored, which is what the Java client does too.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ottla.cli.kafka.options import long
from ottla.cli.kafka.usage import log_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_RENAMED = {
    "fetch.max.wait.ms": "fetch.wait.max.ms",
    "max.request.size": "message.max.bytes",
    "receive.buffer.bytes": "socket.receive.buffer.bytes",
    "send.buffer.bytes": "socket.send.buffer.bytes",
}
# What only the Java client has, or what these tools see to themselves.
_JAVA_ONLY = frozenset(
    {
        *(
            "auto.include.jmx.reporter",
            "buffer.memory",
            "config.providers",
            "default.api.timeout.ms",
            "interceptor.classes",
        ),
        *("exclude.internal.topics", "key.deserializer", "key.serializer", "max.block.ms", "max.poll.records"),
        *("metadata.max.idle.ms", "metadata.recovery.strategy", "metric.reporters", "metrics.num.samples"),
        *("metrics.recording.level", "metrics.sample.window.ms", "partitioner.adaptive.partitioning.enable"),
        *("partitioner.availability.timeout.ms", "partitioner.class", "partitioner.ignore.keys", "security.providers"),
        *("socket.connection.setup.timeout.max.ms", "value.deserializer", "value.serializer"),
    }
)
_ONE_OF = {
    "acks": ("all", "-1", "0", "1"),
    "auto.offset.reset": ("earliest", "latest", "none"),
    "compression.type": ("none", "gzip", "snappy", "lz4", "zstd"),
    "isolation.level": ("read_committed", "read_uncommitted"),
}
GROUP_PROTOCOLS = ("CONSUMER", "CLASSIC")
_ASSIGNORS = {
    "CooperativeStickyAssignor": "cooperative-sticky",
    "RangeAssignor": "range",
    "RoundRobinAssignor": "roundrobin",
}
# What the Java clients have where nothing is said. librdkafka makes a second connection no sooner than half of the
# first number after the first one, so its own 100 ms are felt at the start.
_DEFAULTS = {"reconnect.backoff.ms": "50", "reconnect.backoff.max.ms": "1000"}
# What librdkafka writes in another way: the system's own size, and no pause.
_LEAST = {
    ("batch.size", "0"): "1",
    ("receive.buffer.bytes", "-1"): "0",
    ("send.buffer.bytes", "-1"): "0",
    ("retry.backoff.ms", "0"): "1",
}
_UNKNOWN = re.compile(r'No such configuration property: "([^"]+)"')


class BadSetting(Exception):
    """A setting has a value it cannot have; the text is Kafka's ConfigException's."""


def translated(settings: Mapping[str, str]) -> dict[str, Any]:
    """Give what librdkafka takes; raises `BadSetting`."""
    found: dict[str, Any] = dict(_DEFAULTS)
    for name, value in settings.items():
        allowed = _ONE_OF.get(name)
        if allowed is not None and value not in allowed and not (name == "auto.offset.reset" and ":" in value):
            raise BadSetting(
                f"Invalid value {value} for configuration {name}: String must be one of: {', '.join(allowed)}"
            )
        if name in _JAVA_ONLY:
            continue
        if name == "group.protocol":
            if value.upper() not in GROUP_PROTOCOLS:
                raise BadSetting(
                    f"Invalid value {value} for configuration {name}: String must be one of (case insensitive): "
                    f"{', '.join(GROUP_PROTOCOLS)}"
                )
            found[name] = value.lower()
        elif name == "auto.offset.reset" and value == "none":
            found[name] = "error"
        elif name == "partition.assignment.strategy":
            found[name] = ",".join(_assignor(word) for word in value.split(","))
        elif (name, value) in _LEAST:
            found[_RENAMED.get(name, name)] = _LEAST[name, value]
        else:
            found[_RENAMED.get(name, name)] = value
    return found


def _assignor(word: str) -> str:
    short = word.strip().rpartition(".")[2]
    if short not in _ASSIGNORS:
        raise BadSetting(
            f"Invalid value {word.strip()} for configuration partition.assignment.strategy: "
            f"String must be one of: {', '.join(_ASSIGNORS)}"
        )
    return _ASSIGNORS[short]


def number(settings: Mapping[str, str], name: str, default: int) -> int:
    """Give a setting that is a whole number from 0 (Java's LONG); raises `BadSetting`."""
    text = settings.get(name, str(default)).strip()
    try:
        value = long(text)
    except ValueError as error:
        raise BadSetting(f"Invalid value {text} for configuration {name}: Not a number of type LONG") from error
    if value < 0:
        raise BadSetting(f"Invalid value {value} for configuration {name}: Value must be at least 0")
    return value


def made(make: Callable[[dict[str, Any]], Any], settings: dict[str, Any], exception: type[Exception]) -> Any:
    """Make a client; what it does not know is logged and left out. Raises `BadSetting`."""
    left = dict(settings)
    for name, value in left.items():
        # The library ends the process where text does not become UTF-8.
        if isinstance(value, str) and not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise BadSetting(f"Invalid value {value!a} for configuration {name}: it is not UTF-8") from error
    while True:
        try:
            return make(left)
        except (exception, ValueError, TypeError) as error:
            inner = error.args[0] if error.args else error
            said = inner.str() if hasattr(inner, "str") else str(inner)
            unknown = _UNKNOWN.search(said)
            if unknown is None or unknown[1] not in left:
                raise BadSetting(said) from error
            del left[unknown[1]]
            log_line(
                "WARN",
                f"The setting '{unknown[1]}' is not known here and has no effect.",
                "org.apache.kafka.common.config.AbstractConfig",
            )
