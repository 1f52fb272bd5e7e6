"""`ottla log`: the files of a log, of Ottla's or Apache Kafka's, without a broker.

`dump`, `verify`, `stats` and `export` only read, and may be run while a broker or a program has the log; `repair` and
`import` keep everybody else out.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from ottla.cli.options import ExampleCommand, as_json, topic_name, whole
from ottla.cli.output import note, print_json, print_table
from ottla.cli.times import utc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ottla.embed.files import Batch, FileRecord, Finding, Partition, Report
    from ottla.embed.values import Unfit

OFFSET_MAX = 2**63 - 1
EXIT_FOUND = 1


def chosen(command: Any) -> Any:
    """Add which files: `path`, `topic` and `partition`."""
    command = click.option("-p", "--partition", type=whole(0, 2**31 - 1), help="Only this partition.")(command)
    command = click.option("-t", "--topic", type=topic_name, metavar="TOPIC", help="Only this topic.")(command)
    return click.argument("path", metavar="PATH", type=click.Path())(command)


@click.group()
def log() -> None:
    """Look at the files of a log, mend, export and import them.

    PATH is a data directory, of Ottla or Apache Kafka, or the directory of one partition in it.
    """


@contextmanager
def progress(what: str, total_bytes: int) -> Iterator[Callable[[int], None] | None]:
    """Show on a terminal how far it is; on stderr, so that what is printed can be piped."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total_bytes)
        yield lambda count: bar.advance(task, count)


def _found(path: str, topic: str | None, partition: int | None) -> list[Partition]:
    from ottla.embed import files

    return files.find(path, topic, partition)


def _only(found: Sequence[Partition]) -> Partition:
    if len(found) > 1:
        names = ", ".join(each.name for each in found)
        raise click.UsageError(f"there are several partitions here, {names}: say which by --topic and --partition.")
    return found[0]


# Dump.


@log.command(
    cls=ExampleCommand,
    examples="""
ottla log dump data --topic orders --partition 0
ottla log dump data/orders-0 --offset 1000 -n 20
ottla log dump data/orders-0 --batches
ottla log dump data/orders-0 --json | jq .value
""",
)
@chosen
@click.option("-o", "--offset", type=whole(0, OFFSET_MAX), default=0, help="From this offset on.")
@click.option("-n", "--count", type=whole(1, OFFSET_MAX), help="So many records, or batches, of each partition.")
@click.option("--batches", "only_batches", is_flag=True, help="One line for each batch, from its header.")
@as_json
def dump(
    path: str,
    topic: str | None,
    partition: int | None,
    offset: int,
    count: int | None,
    only_batches: bool,
    as_json: bool,
) -> None:
    """Print what lies in the files: every record, those of transactions that were aborted and of the log's own too.

    What cannot be read is said where it stands, and what lies behind it is printed.
    """
    damaged = 0
    for each in _found(path, topic, partition):
        damaged += _dump(each, offset, count, only_batches=only_batches, as_json=as_json)
    if damaged:
        note(f"{damaged} stretches cannot be read: `ottla log verify` says more")
        raise click.exceptions.Exit(EXIT_FOUND)


def _dump(each: Partition, offset: int, count: int | None, *, only_batches: bool, as_json: bool) -> int:
    from ottla.embed import files

    left = OFFSET_MAX if count is None else count
    torn: list[Batch] = []
    for batch in files.batches(each, offset, records=not only_batches):
        if left <= 0:
            break
        if batch.damage is not None:
            torn.append(batch)
            _print_damage(each, batch, as_json=as_json)
        elif only_batches:
            left -= 1
            _print_batch(each, batch, as_json=as_json)
        else:
            for record in batch.records:
                if record.offset < offset or left <= 0:
                    continue
                left -= 1
                _print_record(each, batch, record, as_json=as_json)
    # Behind the last batch of a log that is being written the next one is on its way.
    is_on_its_way = len(torn) == 1 and files.is_live(each) and batch is torn[0]
    return 0 if is_on_its_way else len(torn)


def _print_damage(each: Partition, batch: Batch, *, as_json: bool) -> None:
    if as_json:
        line = {"topic": each.topic, "partition": each.index, "position": batch.position, "bytes": batch.bytes}
        _print_line({**line, "damage": batch.damage})
    else:
        click.echo(f"{each.name} ! {batch.bytes} bytes at byte {batch.position} cannot be read: {batch.damage}")


def _print_batch(each: Partition, batch: Batch, *, as_json: bool) -> None:
    if as_json:
        fields = {name: value for name, value in msgspec.structs.asdict(batch).items() if name not in _NOT_OF_A_BATCH}
        _print_line({"topic": each.topic, "partition": each.index, **fields})
        return
    flags = [name for name in ("control", "transactional", "log_append_time") if getattr(batch, name)]
    producer = "" if batch.producer_id < 0 else f" producer {batch.producer_id}/{batch.producer_epoch}"
    sequence = "" if batch.base_sequence < 0 else f" sequence {batch.base_sequence}"
    click.echo(
        f"{each.name} {batch.base_offset}-{batch.last_offset} at {batch.position}: {batch.count} records, "
        f"{batch.bytes} bytes, {batch.compression}, {_time(batch.max_timestamp)}, epoch {batch.leader_epoch}"
        f"{producer}{sequence}{''.join(f' {flag}' for flag in flags)}"
    )


_NOT_OF_A_BATCH = frozenset({"records", "damage"})


def _time(timestamp_ms: int) -> str:
    return "no time" if timestamp_ms < 0 else utc(timestamp_ms)


def _print_record(each: Partition, batch: Batch, record: FileRecord, *, as_json: bool) -> None:
    kind = "LogAppendTime" if batch.log_append_time else "CreateTime"
    if as_json:
        from ottla.cli.records import In, json_line

        headers = tuple(record.headers)
        told = In(each.topic, each.index, record.offset, record.timestamp, kind, record.key, record.value, headers)
        click.echo(json_line(told).decode())
        return
    flags = "".join(f" {name}" for name in ("control", "transactional") if getattr(batch, name))
    headers_text = "".join(f" {name}={_shown(value)}" for name, value in record.headers)
    click.echo(
        f"{each.name} {record.offset} {_time(record.timestamp)}{flags}"
        f" {_shown(record.key)} {_shown(record.value)}{headers_text}"
    )


def _shown(content: bytes | None) -> str:
    """Text in quotes where it is text, else as Python writes bytes."""
    if content is None:
        return "null"
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return repr(content)
    return msgspec.json.encode(text).decode()


def _print_line(fields: dict[str, Any]) -> None:
    click.echo(msgspec.json.encode(fields).decode())


# Verify, repair, stats.


def _verified(found: Sequence[Partition]) -> list[tuple[Partition, Report]]:
    from ottla.embed import files

    with progress("reading", sum(each.bytes for each in found)) as told:
        return [(each, files.verify(each, told)) for each in found]


@log.command(cls=ExampleCommand, examples="ottla log verify data\nottla log verify data/orders-0 --json")
@chosen
@as_json
def verify(path: str, topic: str | None, partition: int | None, as_json: bool) -> None:
    """Read everything and say what is wrong: checksums, records, indexes, snapshots, checkpoints.

    Exit code 0 if nothing is, 1 if something is.
    """
    reports = _verified(_found(path, topic, partition))
    if as_json:
        print_json([_described(each, report) for each, report in reports])
    else:
        for each, report in reports:
            for finding in report.findings:
                click.echo(f"{each.name}: {_sentence(finding)}")
            records = sum(segment.records for segment in report.segments)
            length = sum(segment.bytes for segment in report.segments)
            verdict = f"{len(report.findings)} found" if report.findings else "nothing wrong"
            tail = f", {report.on_its_way_bytes} bytes on their way" if report.on_its_way_bytes else ""
            click.echo(
                f"{each.name}: {len(report.segments)} segments, {records} records, {length} bytes{tail}: {verdict}"
            )
    if any(report.findings for _, report in reports):
        raise click.exceptions.Exit(EXIT_FOUND)


def _sentence(finding: Finding) -> str:
    place = f" at byte {finding.position}" if finding.position is not None else ""
    return f"{finding.kind}: {finding.path}{place}: {finding.what}"


def _described(each: Partition, report: Report) -> dict[str, Any]:
    return {
        "topic": each.topic,
        "partition": each.index,
        "findings": [msgspec.structs.asdict(finding) for finding in report.findings],
        "segments": len(report.segments),
        "records": sum(segment.records for segment in report.segments),
        "bytes": sum(segment.bytes for segment in report.segments),
        "on_its_way_bytes": report.on_its_way_bytes,
    }


@log.command(cls=ExampleCommand, examples="ottla log repair data\nottla log repair data --topic orders --yes")
@chosen
@click.option("--yes", "wanted", is_flag=True, help="Do it. Without this it is only said what would be done.")
@as_json
def repair(path: str, topic: str | None, partition: int | None, wanted: bool, as_json: bool) -> None:
    """Mend what can be mended; whatever can be read stays.

    A torn end is cut off. Where batches are damaged an empty one takes the place of their offsets, so that all before
    and behind them can be read. Indexes are made anew, files that say nothing removed. Nobody else may have the
    directory; make a copy of it first.
    """
    from ottla.embed import files

    found = _found(path, topic, partition)
    with files.locked(found), progress("reading", sum(each.bytes for each in found)) as told:
        done = [(each, files.repair(each, wanted=wanted, progress=told)) for each in found]
    if as_json:
        print_json(
            [{"topic": each.topic, "partition": each.index, "done": wanted, "actions": told} for each, told in done]
        )
        return
    for each, actions in done:
        for action in actions:
            click.echo(f"{each.name}: {'' if wanted else 'would '}{action}")
    if not any(actions for _, actions in done):
        click.echo("nothing to mend")
    elif not wanted:
        note("nothing was changed: --yes does it. Make a copy of the directory first.")


@log.command(cls=ExampleCommand, examples="ottla log stats data\nottla log stats data --topic orders --json")
@chosen
@as_json
def stats(path: str, topic: str | None, partition: int | None, as_json: bool) -> None:
    """Count records, bytes and compression of each partition, by reading them."""
    reports = _verified(_found(path, topic, partition))
    if as_json:
        told = [
            {**_totals(report), "topic": each.topic, "partition": each.index, "segments": list(report.segments)}
            for each, report in reports
        ]
        print_json(told)
        return
    headers = ("TOPIC", "PARTITION", "SEGMENTS", "OFFSETS", "RECORDS", "BYTES", "PACKED", "OLDEST", "NEWEST")
    print_table(headers, [_row(each, report) for each, report in reports])


def _totals(report: Report) -> dict[str, Any]:
    segments = report.segments
    codecs = {name: 0 for segment in segments for name in segment.compression}
    for segment in segments:
        for name, count in segment.compression.items():
            codecs[name] += count
    oldest = [segment.min_timestamp for segment in segments if segment.min_timestamp is not None]
    newest = [segment.max_timestamp for segment in segments if segment.max_timestamp is not None]
    first = [segment.first_offset for segment in segments if segment.first_offset is not None]
    summed = (
        *("bytes", "batches", "control_batches", "records", "unpacked_bytes"),
        *("key_bytes", "value_bytes", "null_keys", "null_values"),
    )
    return {
        "first_offset": first[0] if first else None,
        "next_offset": segments[-1].next_offset if segments else None,
        **{name: sum(getattr(segment, name) for segment in segments) for name in summed},
        "min_timestamp": min(oldest, default=None),
        "max_timestamp": max(newest, default=None),
        "compression": codecs,
    }


def _row(each: Partition, report: Report) -> tuple[object, ...]:
    totals = _totals(report)
    codecs = "+".join(sorted(totals["compression"]))
    packed = "" if totals["bytes"] == 0 else f" {totals['unpacked_bytes'] / totals['bytes']:.1f}x"
    times = [None if at is None else utc(at) for at in (totals["min_timestamp"], totals["max_timestamp"])]
    offsets = None if totals["first_offset"] is None else f"{totals['first_offset']}-{totals['next_offset'] - 1}"
    return (
        *(each.topic, each.index, len(report.segments), offsets),
        *(totals["records"], totals["bytes"], f"{codecs}{packed}" or None, *times),
    )


# Export, import.


@log.command(
    cls=ExampleCommand,
    examples="""
ottla log export data/orders-0 > orders.jsonl
ottla log export data --topic orders --partition 0 --to orders.parquet
ottla log export data/orders-0 --to orders.parquet --values json
ottla log export data/orders-0 --to orders.parquet --values avro --avro-schema order.avsc
""",
)
@chosen
@click.option("--to", "target", metavar="FILE", type=click.Path(dir_okay=False), help="Into a file, instead of stdout.")
@click.option(
    "--format", "form", type=click.Choice(["jsonl", "parquet"]), help="Of the file. [as its name ends, else jsonl]"
)
@click.option("-o", "--offset", type=whole(0, OFFSET_MAX), default=0, help="From this offset on.")
@click.option("--end-offset", type=whole(0, OFFSET_MAX), help="To below this offset.")
@click.option("--read-uncommitted", is_flag=True, help="Records of transactions too that are open or were aborted.")
@click.option(
    "--values",
    "form_of_values",
    type=click.Choice(["bytes", "json", "avro"]),
    default="bytes",
    help="What values are; JSON and Avro become columns of Parquet. [bytes]",
)
@click.option("--avro-schema", metavar="FILE", type=click.Path(exists=True, dir_okay=False), help="Of Avro's values.")
@click.option(
    "--unfit",
    type=click.Choice(["raise", "null"]),
    default="raise",
    help="A value that does not fit its columns ends it, or becomes null. [raise]",
)
def export(
    path: str,
    topic: str | None,
    partition: int | None,
    target: str | None,
    form: str | None,
    offset: int,
    end_offset: int | None,
    read_uncommitted: bool,
    form_of_values: str,
    avro_schema: str | None,
    unfit: Unfit,
) -> None:
    """Write the records of one partition as a consumer gets them: JSON lines, or Parquet.

    The lines are those of `ottla consume --json`, which `ottla produce --json` and `ottla log import` read. With
    --values json the first 65,536 records say which columns there are, and of which types.
    """
    from ottla.cli import tables
    from ottla.embed import files

    each = _only(_found(path, topic, partition))
    if form is None:
        form = "parquet" if target is not None and target.endswith(".parquet") else "jsonl"
    if form == "parquet" and target is None:
        raise click.UsageError("--to FILE says where Parquet goes.")
    if form != "parquet" and form_of_values != "bytes":
        raise click.UsageError("--values is for Parquet: JSON lines have values as they are.")
    if (form_of_values == "avro") != (avro_schema is not None):
        raise click.UsageError("--values avro and --avro-schema FILE go together.")
    with progress("exporting", each.bytes) as told:
        records = files.records(each, offset, end_offset, uncommitted=read_uncommitted, progress=told)
        written = (
            tables.write_parquet(records, target, tables.values_as(form_of_values, avro_schema, unfit))
            if form == "parquet" and target
            else _write_lines(each, records, target)
        )
    note(f"{written} records")


def _write_lines(each: Partition, records: Iterator[FileRecord], target: str | None) -> int:
    from ottla.cli.records import In, json_line
    from ottla.cli.tables import whole_file

    count = 0
    with ExitStack() as end:
        is_file = target not in {None, "-"}
        place = end.enter_context(whole_file(str(target))) if is_file else "-"
        out = end.enter_context(click.open_file(str(place), "wb"))
        for record in records:
            headers = tuple(record.headers)
            told = In(each.topic, each.index, record.offset, record.timestamp, None, record.key, record.value, headers)
            out.write(json_line(told) + b"\n")
            count += 1
    return count


@log.command(
    "import",
    cls=ExampleCommand,
    examples="ottla log import orders.jsonl data/orders\nottla log import orders.parquet data --topic orders",
)
@click.argument("source", metavar="FILE", type=click.Path(allow_dash=True, dir_okay=False))
@click.argument("path", metavar="PATH")
@click.option(
    "-t", "--topic", type=topic_name, metavar="TOPIC", help="Which topic there. [the only one, or PATH's name]"
)
@click.option("--format", "form", type=click.Choice(["jsonl", "parquet"]), help="[as the file's name ends, else jsonl]")
@click.option("--compression", type=click.Choice(["none", "gzip", "snappy", "lz4", "zstd"]), help="Of a new log.")
@as_json
def import_(source: str, path: str, topic: str | None, form: str | None, compression: Any, as_json: bool) -> None:
    """Append the records of a file, - for stdin, to a log, which is made when it is missing.

    Keys, values, headers and timestamps are kept; offsets are the log's own. A line that cannot be read ends it: the
    records before it were appended.
    """
    from ottla import Log
    from ottla.cli import tables

    if source != "-" and not Path(source).is_file():
        raise click.UsageError(f"there is no file {source}: name one, or - for stdin.")
    if form is None:
        form = "parquet" if source.endswith(".parquet") else "jsonl"
    size = 0 if source == "-" else Path(source).stat().st_size
    wrong: list[Exception] = []
    with Log(path, topic=topic, compression=compression) as target:
        before = target.end_offset
        try:
            with progress("importing", size) as told:
                items = tables.read_parquet(source, told) if form == "parquet" else _read_lines(source, told)
                target.append_many(_until_wrong(items, wrong), wait=False)
        finally:
            target.sync()
            _print_imported(target.topic, before, target.end_offset, as_json=as_json)
    if wrong:
        raise wrong[0]


def _print_imported(topic: str, first: int, end: int, *, as_json: bool) -> None:
    if as_json:
        place = {"first_offset": first if first < end else None, "next_offset": end}
        print_json({"topic": topic, "partition": 0, "records": end - first, **place})
    else:
        note(f"{end - first} records" + (f", offsets {first} to {end - 1}" if first < end else ""))


def _until_wrong(items: Iterator[Any], wrong: list[Exception]) -> Iterator[Any]:
    """End where one cannot be read, so that those before it are appended."""
    try:
        yield from items
    except Exception as error:  # noqa: BLE001 - raised by the caller
        wrong.append(error)


def _read_lines(source: str, told: Callable[[int], None] | None) -> Iterator[Any]:
    from ottla.cli.records import from_json_line
    from ottla.errors import InvalidInput

    with click.open_file(source, "rb") as lines:
        for number, line in enumerate(lines, 1):
            if told is not None:
                told(len(line))
            if not line.strip():
                continue
            try:
                record = from_json_line(line)
            except ValueError as error:
                raise InvalidInput(f"line {number} of {source}: {error}") from error
            yield (record.key, record.value, record.headers, record.timestamp_ms)
