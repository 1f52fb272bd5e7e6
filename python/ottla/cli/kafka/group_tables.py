"""`kafka-consumer-groups --describe`: where a group is, its members, its state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.cli.kafka.usage import complain, say
from ottla.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ottla.admin import Admin, CommittedOffset, Group, Member, TopicPartition
    from ottla.cli.kafka.options import Options

MISSING = "-"
COLUMN = 15
REBALANCING = ("PreparingRebalance", "CompletingRebalance", "Assigning", "Reconciling")


def describe(client: Admin, options: Options, group_ids: list[str]) -> None:
    """Print what was asked for of each group, by id."""
    from ottla.admin import required

    found = client.describe_groups(group_ids)
    groups = [required(found[group_id]) for group_id in sorted(found)]
    verbose = options.has("verbose")
    for group in groups:
        if options.has("members"):
            _print_members(group, verbose=verbose)
        elif options.has("state"):
            _print_state(group, verbose=verbose)
        else:
            _print_offsets(client, group, verbose=verbose)


def _shows(group: Group, rows: int) -> bool:
    """Say what there is to say of the state, and tell whether a table follows."""
    if group.state == "Dead":
        say("", f"Error: Consumer group '{group.group_id}' does not exist.")
    elif group.state == "Empty":
        complain("", f"Consumer group '{group.group_id}' has no active members.")
    elif group.state in REBALANCING:
        complain("", f"Warning: Consumer group '{group.group_id}' is rebalancing.")
    return group.state != "Dead" and rows > 0


def _width(least: int, texts: Iterable[str]) -> int:
    return max([least, *(len(text) for text in texts)])


# Offsets.


class _Row:
    """A line of the table of offsets."""

    def __init__(
        self, place: TopicPartition, committed: CommittedOffset | None, end: int | None, member: Member | None
    ) -> None:
        offset = None if committed is None else committed.offset
        epoch = None if committed is None else committed.leader_epoch
        self.topic = place.topic
        self.partition = str(place.partition)
        self.epoch = _text(epoch)
        self.offset = _text(offset)
        self.end = _text(end)
        self.lag = _text(None if offset is None or end is None else end - offset)
        self.member_id = MISSING if member is None else member.member_id
        self.host = MISSING if member is None else member.host
        self.client_id = MISSING if member is None else member.client_id


def _text(value: int | None) -> str:
    return MISSING if value is None else str(value)


def _print_offsets(client: Admin, group: Group, *, verbose: bool) -> None:
    rows = _rows(client, group)
    if not _shows(group, len(rows)):
        return
    name = group.group_id
    group_width = _width(COLUMN, [name])
    topic_width = _width(COLUMN, (row.topic for row in rows))
    member_width = _width(COLUMN, (row.member_id for row in rows))
    host_width = _width(COLUMN, (row.host for row in rows))

    def line(*cells: str) -> str:
        first, topic, partition, epoch, offset, end, lag, member, host, client_id = cells
        between = f" {epoch:<15}" if verbose else ""
        return (
            f"{first:<{group_width}} {topic:<{topic_width}} {partition:<10}{between} {offset:<15} {end:<15} {lag:<15} "
            f"{member:<{member_width}} {host:<{host_width}} {client_id}"
        )

    say(
        "",
        line(
            *("GROUP", "TOPIC", "PARTITION", "LEADER-EPOCH", "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG"),
            *("CONSUMER-ID", "HOST", "CLIENT-ID"),
        ),
    )
    for row in rows:
        say(
            line(
                *(name, row.topic, row.partition, row.epoch, row.offset, row.end, row.lag),
                *(row.member_id, row.host, row.client_id),
            )
        )


def _rows(client: Admin, group: Group) -> list[_Row]:
    """Partitions of members, those with most of them first, then what is committed and nobody's."""
    from ottla.admin import LATEST

    committed = {
        place: found
        for place, found in client.list_group_offsets(group.group_id).items()
        if not isinstance(found, RequestError)
    }
    held: list[tuple[TopicPartition, Member | None]] = []
    for member in sorted(group.members, key=lambda member: -len(member.assignment or ())):
        held += [(place, member) for place in sorted(member.assignment or ())]
    taken = {place for place, _ in held}
    held += [(place, None) for place in sorted(committed) if place not in taken]
    ends = client.list_offsets({place: LATEST for place, _ in held}) if held else {}
    rows = []
    for place, owner in held:
        end = ends[place]
        rows.append(_Row(place, committed.get(place), None if isinstance(end, RequestError) else end.offset, owner))
    return rows


# Members.


def _print_members(group: Group, *, verbose: bool) -> None:
    shown = _shows(group, len(group.members))
    members = group.members if shown else ()
    instances = any(member.instance_id for member in members)
    # While a group is between the protocols.
    mixed = {member.upgraded for member in members} >= {True, False}
    widths = {
        "group": _width(COLUMN, [group.group_id] if members else []),
        "member": _width(COLUMN, (member.member_id for member in members)),
        "instance": _width(17, (member.instance_id or "" for member in members)),
        "host": _width(COLUMN, (member.host for member in members)),
        "client": _width(COLUMN, (member.client_id for member in members)),
        "current": _width(20, (_assignment(member.assignment) for member in members)),
        "target": _width(20, (_target(member) for member in members)),
    }

    def line(first: str, member: str, instance: str, host: str, client: str, count: str, *more: str) -> str:
        static = f"{instance:<{widths['instance']}} " if instances else ""
        text = (
            f"{first:<{widths['group']}} {member:<{widths['member']}} {static}{host:<{widths['host']}} "
            f"{client:<{widths['client']}} {count:<15} "
        )
        if verbose:
            epoch, current, target_epoch, target, upgraded = more
            text += f"{epoch:<15} {current:<{widths['current']}} {target_epoch:<15} {target:<{widths['target']}}"
            text += f" {upgraded}" if mixed else ""
        return text

    say(
        "",
        line(
            *("GROUP", "CONSUMER-ID", "GROUP-INSTANCE-ID", "HOST", "CLIENT-ID", "#PARTITIONS"),
            *("CURRENT-EPOCH", "CURRENT-ASSIGNMENT", "TARGET-EPOCH", "TARGET-ASSIGNMENT", "UPGRADED"),
        ),
    )
    for member in members:
        target_epoch = _text(None if member.epoch is None else group.target_epoch)
        say(
            line(
                *(group.group_id, member.member_id, member.instance_id or "", member.host, member.client_id),
                str(len(member.assignment or ())),
                *(_text(member.epoch), _assignment(member.assignment), target_epoch, _target(member)),
                str(bool(member.upgraded)).lower(),
            )
        )


def _target(member: Member) -> str:
    return MISSING if member.target is None else _assignment(member.target)


def _assignment(places: tuple[TopicPartition, ...] | None) -> str:
    if not places:
        return MISSING
    topics: dict[str, list[int]] = {}
    for place in sorted(places):
        topics.setdefault(place.topic, []).append(place.partition)
    return ";".join(f"{topic}:{','.join(map(str, partitions))}" for topic, partitions in topics.items())


# State.


def _print_state(group: Group, *, verbose: bool) -> None:
    if not _shows(group, 1):
        return
    broker = group.coordinator
    coordinator = f"{broker.host}:{broker.port}  ({broker.broker_id})"
    group_width = _width(COLUMN, [group.group_id])
    coordinator_width = _width(25, [coordinator])

    def line(first: str, second: str, assignor: str, state: str, epoch: str, target: str, members: str) -> str:
        between = f"{epoch:<15} {target:<25} " if verbose else ""
        return f"{first:<{group_width}} {second:<{coordinator_width}} {assignor:<20} {state:<20} {between}{members}"

    say(
        "",
        line(
            *("GROUP", "COORDINATOR (ID)", "ASSIGNMENT-STRATEGY", "STATE"),
            *("GROUP-EPOCH", "TARGET-ASSIGNMENT-EPOCH", "#MEMBERS"),
        ),
        line(
            *(group.group_id, coordinator, group.assignor or MISSING, group.state),
            *(_text(group.epoch), _text(group.target_epoch), str(len(group.members))),
        ),
    )
