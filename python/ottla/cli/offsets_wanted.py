"""Where a group is to go on reading: what was asked for, and the offsets that makes.

As in kafka-consumer-groups --reset-offsets: an offset before the first record becomes the first, one past the end
becomes the end, and a moment after the last record is the end.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from ottla.cli.options import topic_name
from ottla.cli.refusals import Refusals
from ottla.errors import ErrorCode, RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ottla.admin import Admin, TopicPartition

_PARTITION = re.compile(r"[0-9]{1,10}")
MODES = ("to_earliest", "to_latest", "to_current", "to_offset", "to_time", "shift_by")


class Target(NamedTuple):
    """One way to say where, and its number if it has one."""

    mode: str
    number: int = 0


class Row(NamedTuple):
    """What happens to one partition."""

    place: TopicPartition
    committed: int | None
    offset: int


def chosen_mode(modes: Mapping[str, Any]) -> Target:
    """Give the one way that was chosen; none and two are refused."""
    given = [mode for mode in MODES if modes[mode] is not None and modes[mode] is not False]
    if len(given) != 1:
        options = ", ".join("--" + mode.replace("_", "-") for mode in MODES)
        said = " and ".join("--" + mode.replace("_", "-") for mode in given)
        raise click.UsageError(
            f"{said} contradict each other: give one of {options}." if given else f"say where to: one of {options}."
        )
    value = modes[given[0]]
    return Target(given[0], 0 if value is True else value)


def places_of(topics: Sequence[str]) -> dict[str, tuple[int, ...] | None]:
    """Read TOPIC or TOPIC:0,1: partitions by topic, None for all of them."""
    asked: dict[str, tuple[int, ...] | None] = {}
    for text in topics:
        name, colon, numbers = text.partition(":")
        topic_name(name)
        partitions = tuple(int(each) for each in numbers.split(",") if _PARTITION.fullmatch(each))
        if colon and (not numbers or len(partitions) != len(numbers.split(","))):
            raise click.UsageError(f"--topic '{text}': write TOPIC, or TOPIC:0,1 with numbers of partitions.")
        if name in asked:
            raise click.UsageError(f"--topic {name} stands there twice: write {name}:0,1 for several partitions.")
        asked[name] = tuple(dict.fromkeys(partitions)) if colon else None
    return asked


def plan_of(client: Admin, group: str, asked: Mapping[str, tuple[int, ...] | None], target: Target) -> list[Row]:
    """Work out the new offset of every partition; `asked` empty: of all the group has committed."""
    from ottla.admin import EARLIEST, LATEST

    committed = {
        place: commit.offset
        for place, commit in client.list_group_offsets(group).items()
        if not isinstance(commit, RequestError)
    }
    places = _places(client, asked) if asked else sorted(committed)
    if not places:
        return []
    first = _ends(client, dict.fromkeys(places, EARLIEST))
    last = _ends(client, dict.fromkeys(places, LATEST))
    at_time = _ends(client, dict.fromkeys(places, target.number)) if target.mode == "to_time" else {}
    rows = []
    for place in places:
        now = committed.get(place)
        if target.mode == "shift_by" and now is None:
            raise RequestError(
                ErrorCode.RESOURCE_NOT_FOUND, f"group {group} has committed nothing for {place} to shift from"
            )
        offset = {
            "to_earliest": first[place],
            "to_latest": last[place],
            "to_current": last[place] if now is None else now,
            "to_offset": target.number,
            # -1: no record is as new as that.
            "to_time": at_time[place] if at_time.get(place, -1) >= 0 else last[place],
            "shift_by": (now or 0) + target.number,
        }[target.mode]
        rows.append(Row(place, now, min(max(offset, first[place]), last[place])))
    return rows


def _places(client: Admin, asked: Mapping[str, tuple[int, ...] | None]) -> list[TopicPartition]:
    from ottla.admin import TopicPartition
    from ottla.cli.refusals import accepted

    places: list[TopicPartition] = []
    for name, topic in accepted("topic", client.describe_topics(asked)).items():
        there = [partition.index for partition in topic.partitions]
        wanted = asked[name]
        absent = sorted(set(wanted or ()) - set(there))
        if absent:
            raise RequestError(
                ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
                f"topic {name} has partitions 0 to {len(there) - 1}, and no {', '.join(map(str, absent))}",
            )
        places += [TopicPartition(name, index) for index in (there if wanted is None else sorted(wanted))]
    return places


def _ends(client: Admin, wanted: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
    found = client.list_offsets(wanted)
    refused = [(f"partition {place}", at) for place, at in found.items() if isinstance(at, RequestError)]
    if refused:
        raise Refusals(refused)
    return {place: at.offset for place, at in found.items() if not isinstance(at, RequestError)}
