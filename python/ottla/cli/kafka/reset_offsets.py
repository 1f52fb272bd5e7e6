"""`kafka-consumer-groups --reset-offsets`: what groups without members have committed, set anew.

Kafka: org.apache.kafka.tools.OffsetsUtils. Without --execute nothing changes.
"""

from __future__ import annotations

import csv
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ottla.cli.kafka import words
from ottla.cli.kafka.consumer_groups import SCENARIOS, Failed, WrongUse, partitions_of, print_error
from ottla.cli.kafka.options import LONG_MAX, integer, long
from ottla.cli.kafka.usage import log_line, say
from ottla.errors import ErrorCode, RequestError

if TYPE_CHECKING:
    from ottla.admin import Admin, CommittedOffset, TopicPartition
    from ottla.cli.kafka.options import Options

LOGGER = "org.apache.kafka.tools.OffsetsUtils"
COLUMN = 15
_DURATION = re.compile(
    r"(?P<sign>[-+]?)P(?:(?P<days>[-+]?\d+)D)?"
    r"(?P<time>T(?:(?P<hours>[-+]?\d+)H)?(?:(?P<minutes>[-+]?\d+)M)?(?:(?P<seconds>[-+]?\d+(?:[.,]\d{0,9})?)S)?)?",
    re.IGNORECASE,
)
_DATE = re.compile(
    r"(?P<date>\d{4,}-\d{1,2}-\d{1,2})T(?P<time>\d{1,2}:\d{1,2}:\d{1,2})(?:\.(?P<ms>\d+))?(?P<zone>Z|[+-]\d\d:\d\d)"
)

Offsets = dict["TopicPartition", int]


def reset(client: Admin, options: Options, groups: list[str]) -> None:
    """Find the new offsets of each group, set them with --execute, and print them."""
    from ottla.admin import CommittedOffset, required

    found = client.describe_groups(groups)
    results: dict[str, Offsets] = {}
    for group in groups:
        described = found[group]
        if isinstance(described, RequestError) and described.code is not ErrorCode.GROUP_ID_NOT_FOUND:
            raise described
        if not isinstance(described, RequestError) and described.state not in ("Empty", "Dead"):
            print_error(
                f"Assignments can only be reset if the group '{group}' is inactive, but the current state is "
                f"{described.state}."
            )
            results[group] = {}
            continue
        offsets = _new_offsets(client, options, group, _scope(client, options, group))
        if options.has("execute") and offsets:
            wanted = {place: CommittedOffset(offset) for place, offset in offsets.items()}
            for outcome in client.alter_group_offsets(group, wanted).values():
                required(outcome)
        results[group] = offsets
    if options.has("export"):
        _export(results, with_group=len(options.values("group")) != 1)
    else:
        _print(results)


def _scope(client: Admin, options: Options, group: str) -> list[TopicPartition]:
    if options.has("all-topics"):
        places = sorted(_committed(client, group))
    elif options.has("topic"):
        try:
            places = partitions_of(client, options.values("topic"))
        except RequestError as error:
            raise Failed(words.message(error), words.exception_class(error.code)) from error
    elif options.has("from-file"):
        return []
    else:
        raise WrongUse("One of the reset scopes should be defined: --all-topics, --topic.")
    _must_exist(client, places)
    return places


def _must_exist(client: Admin, places: list[TopicPartition]) -> None:
    described = client.describe_topics({place.topic for place in places})
    absent = []
    for place in places:
        topic = described[place.topic]
        if isinstance(topic, RequestError):
            raise topic
        if all(partition.index != place.partition for partition in topic.partitions):
            absent.append(str(place))
    if absent:
        raise Failed(
            f'The partitions "{",".join(absent)}" do not exist',
            "org.apache.kafka.common.errors.UnknownTopicOrPartitionException",
        )


def _committed(client: Admin, group: str) -> dict[TopicPartition, CommittedOffset]:
    try:
        found = client.list_group_offsets(group)
    except RequestError as error:
        if error.code is ErrorCode.GROUP_ID_NOT_FOUND:
            return {}
        raise
    return {place: offset for place, offset in found.items() if not isinstance(offset, RequestError)}


def _new_offsets(client: Admin, options: Options, group: str, places: list[TopicPartition]) -> Offsets:
    from ottla.admin import EARLIEST, LATEST

    if options.has("to-offset"):
        offset = options.value("to-offset")
        return _within(client, dict.fromkeys(places, offset))
    if options.has("to-earliest"):
        return _at(client, places, EARLIEST)
    if options.has("to-latest"):
        return _at(client, places, LATEST)
    if options.has("shift-by"):
        return _shifted(client, group, places, options.value("shift-by"))
    if options.has("to-datetime"):
        return _since(client, places, _moment(options.value("to-datetime")))
    if options.has("by-duration"):
        return _since(client, places, int(time.time() * 1000) - _duration_ms(options.value("by-duration")))
    if options.has("from-file"):
        return _planned(client, options, group)
    if options.has("to-current"):
        committed = _committed(client, group)
        unknown = [place for place in places if place not in committed]
        ends = _at(client, unknown, LATEST)
        return {place: committed[place].offset if place in committed else ends[place] for place in places}
    raise WrongUse(
        "Option '[reset-offsets]' requires one of the following scenarios: "
        f"[{', '.join(f'[{name}]' for name in SCENARIOS)}]"
    )


def _at(client: Admin, places: list[TopicPartition], moment: int) -> Offsets:
    from ottla.admin import required

    found = client.list_offsets(dict.fromkeys(places, moment)) if places else {}
    return {place: required(at).offset for place, at in found.items()}


def _shifted(client: Admin, group: str, places: list[TopicPartition], by: int) -> Offsets:
    committed = _committed(client, group)
    for place in places:
        if place not in committed:
            raise WrongUse(f"Cannot shift offset for partition {place} since there is no current committed offset")
    return _within(client, {place: committed[place].offset + by for place in places})


def _since(client: Admin, places: list[TopicPartition], moment: int) -> Offsets:
    from ottla.admin import LATEST

    found = _at(client, places, max(0, moment))
    for place, offset in found.items():
        if offset < 0:
            say(
                "",
                f"Warn: Partition {place.partition} from topic {place.topic} is empty. "
                "Falling back to latest known offset.",
            )
    ends = _at(client, [place for place, offset in found.items() if offset < 0], LATEST)
    return found | ends


def _within(client: Admin, wanted: Offsets) -> Offsets:
    from ottla.admin import EARLIEST, LATEST

    first, last = (_at(client, list(wanted), moment) for moment in (EARLIEST, LATEST))
    found = {}
    for place, offset in wanted.items():
        found[place] = min(max(offset, first[place]), last[place])
        if found[place] != offset:
            side = "higher than latest" if offset > last[place] else "lower than earliest"
            log_line(
                "WARN",
                f"New offset ({offset}) is {side} offset for topic partition {place}. "
                f"Value will be set to {found[place]}",
                LOGGER,
            )
    return found


# What was written.


def _moment(text: str) -> int:
    def refused(sentence: str) -> Failed:
        failed = Failed(f"java.text.ParseException: {sentence}", "java.lang.RuntimeException")
        failed.__cause__ = None
        return failed

    if "T" not in text or not text.partition("T")[2]:
        raise refused("Error parsing timestamp. It does not contain a 'T' according to ISO8601 format")
    clock = text.partition("T")[2]
    zoned = text if any(mark in clock for mark in "+-Z") else f"{text}Z"
    match = _DATE.fullmatch(zoned)
    try:
        if match is None:
            raise ValueError(zoned)
        day = datetime.strptime(f"{match['date']} {match['time']}", "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError as error:
        raise refused(f'Unparseable date: "{zoned}"') from error
    zone = match["zone"]
    shift_s = 0 if zone == "Z" else int(zone[1:3]) * 3_600 + int(zone[4:]) * 60
    # In numbers: the zone may lead out of the years there are.
    return (int(day.timestamp()) + (shift_s if zone.startswith("-") else -shift_s)) * 1000 + int(match["ms"] or 0)


def _duration_ms(text: str) -> int:
    match = _DURATION.fullmatch(text)
    if (
        match is None
        or match["time"] == "T"
        or match["time"] == "t"
        or not any(match[part] for part in ("days", "hours", "minutes", "seconds"))
    ):
        raise Failed("Text cannot be parsed to a Duration", "java.time.format.DateTimeParseException")
    seconds = float((match["seconds"] or "0").replace(",", "."))
    total = int(match["days"] or 0) * 86_400 + int(match["hours"] or 0) * 3_600 + int(match["minutes"] or 0) * 60
    if abs(total + seconds) * 1000 > LONG_MAX // 2:
        raise Failed("Text cannot be parsed to a Duration", "java.time.format.DateTimeParseException")
    return round((total + seconds) * 1000) * (-1 if match["sign"] == "-" else 1)


def _planned(client: Admin, options: Options, group: str) -> Offsets:
    from ottla.admin import TopicPartition

    path = options.value("from-file")
    single = len(options.values("group")) == 1
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            lines = [line for line in csv.reader(file) if line]
    except (OSError, UnicodeDecodeError) as error:
        raise Failed(f"java.io.IOException: Unable to read file {path}", "java.lang.RuntimeException") from error
    plans: dict[str, Offsets] = {}
    for number, line in enumerate(lines, start=1):
        cells = [group, *line] if single and len(line) == 3 else line
        try:
            owner, topic, partition, offset = cells
            plans.setdefault(owner, {})[TopicPartition(topic, integer(partition))] = long(offset)
        except ValueError as error:
            what = "topic,partition,offset" if single else "group,topic,partition,offset"
            raise Failed(f"line {number} of {path} is not {what}", "java.lang.RuntimeException") from error
    if group not in plans:
        print_error(f"No reset plan for group {group} found")
        return {}
    _must_exist(client, list(plans[group]))
    return _within(client, plans[group])


# What is printed.


def _print(results: dict[str, Offsets]) -> None:
    rows = [
        (group, place.topic, str(place.partition), str(offset))
        for group, offsets in results.items()
        for place, offset in sorted(offsets.items())
    ]
    if results:
        rows.insert(0, ("GROUP", "TOPIC", "PARTITION", "NEW-OFFSET"))
    group_width, topic_width = (max([COLUMN, *(len(row[column]) for row in rows)]) for column in (0, 1))
    say("")
    for group, topic, partition, offset in rows:
        say(f"{group:<{group_width}} {topic:<{topic_width}} {partition:<10} {offset}")


def _export(results: dict[str, Offsets], *, with_group: bool) -> None:
    for group, offsets in results.items():
        for place, offset in sorted(offsets.items()):
            front = f"{group}," if with_group else ""
            say(f"{front}{place.topic},{place.partition},{offset}")
    say("")
