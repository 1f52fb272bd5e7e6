"""DeleteRecords and DescribeLogDirs: what a partition holds."""

from __future__ import annotations

from tests.wire.batches import Batch, Record
from tests.wire.client import Plain
from tests.wire.differential import Talk, case


@case(range(3))
def delete_records(talk: Talk, version: int) -> None:
    """The log start moves up, never down; every reason for which it does not; and what readers see then."""
    talk.create(partitions=2)
    talk.create("-compacted", configs={"cleanup.policy": "compact"})
    talk.create("-both", configs={"cleanup.policy": "compact,delete"})
    for count in (3, 4):
        talk.produce(talk.topic(), Batch([Record(value=b"v")] * count))
    for suffix in ("-compacted", "-both"):
        talk.produce(talk.topic(suffix), Batch([Record(key=b"k", value=b"v")] * 3))
    # Makes the internal topic.
    talk.coordinate(talk.topic("-group"))

    def before(*places: tuple[int, int], of: str = "") -> Plain:
        partitions = [{"partition_index": index, "offset": offset} for index, offset in places]
        return {"name": talk.topic(of), "partitions": partitions}

    def ask(label: str, *topics: Plain) -> None:
        answer = talk.quietly("delete_records", version, topics=topics, timeout=10_000)
        answer["topics"].sort(key=lambda topic: topic["name"])
        for topic in answer["topics"]:
            topic["partitions"].sort(key=lambda each: each["partition_index"])
        talk.note(label, answer)

    def start(label: str, index: int = 0) -> None:
        topics = [{"name": talk.topic(), "partitions": [{"partition_index": index, "timestamp": -2}]}]
        talk.ask(label, "list_offsets", 5, topics=topics, replica_id=-1, isolation_level=0)

    ask("inside a batch", before((0, 2)))
    start("start inside a batch")
    ask("the same again", before((0, 2)))
    ask("lower", before((0, 1)))
    ask("zero", before((0, 0)))
    ask("beyond the end", before((0, 8)))
    ask("minus two", before((0, -2)))
    ask("an empty partition", before((1, 0)))
    ask("an empty partition to its end", before((1, -1)))
    ask("unknown partition", before((0, 3), (7, 0)))
    ask("negative partition", before((-1, 0)))
    ask("unknown topic", before((0, 0), of="-none"))
    ask("ill-named topic", {"name": "not a name", "partitions": [{"partition_index": 0, "offset": 0}]})
    ask("compacted", before((0, 1), of="-compacted"))
    ask("compacted and deleted", before((0, 1), of="-both"))
    ask("several", before((0, 4), (1, 0)), before((0, 2), of="-both"), before((0, 2), of="-compacted"))
    ask("partition twice", before((0, 5), (0, 6)))
    start("start after a partition twice")
    ask("topic twice", before((0, 6)), before((1, 0)))
    ask("to the end", before((0, -1)))
    start("start at the end")
    ask("beyond the end of nothing", before((0, 8)))
    for index in (0, 999, -1):
        partitions = [{"partition_index": index, "offset": 0}]
        ask(f"internal topic, partition {index}", {"name": "__consumer_offsets", "partitions": partitions})
    ask("nothing")
    ask("no partitions", before())
    talk.produce(talk.topic(), Batch([Record(value=b"more")]))
    start("start after more")


@case(range(1, 6))
def describe_log_dirs(talk: Talk, version: int) -> None:
    """Bytes of partitions; what is not there is left out."""
    talk.create(partitions=2)
    talk.produce(talk.topic(), Batch([Record(value=b"v" * 1000)]))

    def ask(label: str, topics: list[Plain] | None) -> None:
        answer = talk.quietly("describe_log_dirs", version, topics=topics)
        for directory in answer["results"]:
            directory["log_dir"] = "a directory"
            for size in ("total_bytes", "usable_bytes"):
                if size in directory:
                    directory[size] = directory[size] > 0
            if topics is None:
                # The other conversations' topics come and go.
                directory["topics"] = [each for each in directory["topics"] if each["name"] == talk.topic()]
            for topic in directory["topics"]:
                topic["partitions"].sort(key=lambda each: each["partition_index"])
        talk.note(label, answer)

    ask("all", None)
    ask("both partitions", [{"topic": talk.topic(), "partitions": [0, 1]}])
    ask("one partition", [{"topic": talk.topic(), "partitions": [0]}])
    ask("unknown partition", [{"topic": talk.topic(), "partitions": [9, -1]}])
    ask("unknown topic", [{"topic": talk.topic("-none"), "partitions": [0]}])
    ask("topic twice", [{"topic": talk.topic(), "partitions": [each]} for each in (0, 1)])
    ask("no partitions", [{"topic": talk.topic(), "partitions": []}])
    ask("no topics", [])
