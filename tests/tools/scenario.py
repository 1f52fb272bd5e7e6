"""What is typed, tool by tool: the same lines are played with Kafka's tools and with ours (`sections` has them all).

`@` stands for --bootstrap-server and the broker, `FOLDER` for a directory of the run's own.
"""

from __future__ import annotations

import shlex
from typing import NamedTuple


class Step(NamedTuple):
    """One line, or a member that joins a group before the next line."""

    line: str
    stdin: str = ""
    # Rows come in the order of a hash table in Kafka's tool.
    unordered: bool = False
    # Join this group, subscribed to a topic, and commit what is there.
    member: tuple[str, str, str | None] | None = None
    # Send what `coordinator_records` has under this name to a topic of the name.
    records: str = ""

    @property
    def tool(self) -> str:
        return self.line.split()[0]

    @property
    def reads(self) -> bool:
        """Whether the line changes nothing."""
        return "--list" in self.line or "--describe" in self.line or self.tool == "kafka-get-offsets"

    def arguments(self, server: str, folder: str) -> list[str]:
        text = self.line.replace("@", f"--bootstrap-server {server}").replace("FOLDER", folder)
        return shlex.split(text)[1:]


def lines(tool: str, text: str) -> list[Step]:
    """Make steps of lines; one that begins with `~` has rows without an order."""
    return [
        Step(f"{tool} {' '.join(line.removeprefix('~').split())}", unordered=line.startswith("~"))
        for line in text.strip().splitlines()
    ]


TOPICS = lines(
    "kafka-topics",
    """
--version
--help

--list
@
@ --list --create --topic x
@ --list
@ --create
@ --create --topic orders --partitions 3 --replication-factor 1 --config retention.ms=60000 \
 --config cleanup.policy=compact,delete
@ --create --topic orders
@ --create --topic orders --if-not-exists
@ --create --topic=a.b_c
@ --create --topic bad/name
@ --create --topic q --partitions 0
@ --create --topic q --partitions x
@ --create --topic q --partitions 99999999999
@ --create --topic q --replication-factor 0
@ --create --topic q --config retention.ms
@ --create --topic q --config nosuch=1
@ --create --topic q --config retention.ms=soon
@ --create --topic q --nosuch
@ --create --topic q --part 1
@ -create -topic dash
@ --create --topic a --topic b
@ --create --topic q --replica-assignment 1,1
@ --create --topic q2 --replica-assignment 1:1
@ --create --topic q3 --replica-assignment 1:2,1
@ --create --topic q3 --replica-assignment x
@ --create --topic q3 --replica-assignment 1 --partitions 1
@ --create --topic q3 stray words
@ --list
@ --list --exclude-internal --topic 'q.*'
@ --list --topic 'q.*,orders'
@ --list --topic 'q|orders'
@ --list --topic '['
~@ --describe
@ --describe --topic orders
@ --describe --topic nope
@ --describe --topic nope --if-exists
~@ --describe --topic-id AAAAAAAAAAAAAAAAAAAAAA
@ --describe --topic-id abc
@ --describe --topic-id zzzzzzzzzzzzzzzzzzzzzz
@ --describe --topics-with-overrides
@ --describe --under-replicated-partitions
@ --describe --unavailable-partitions
~@ --describe --at-min-isr-partitions
@ --describe --under-min-isr-partitions
@ --describe --topics-with-overrides --under-replicated-partitions
@ --describe --if-exists
@ --describe --topic orders --partition-size-limit-per-response 1
@ --alter --topic orders
@ --alter --topic orders --partitions 5
@ --alter --topic orders --partitions 5
@ --alter --topic orders --partitions 4
@ --alter --topic nope --partitions 4
@ --alter --topic nope --partitions 4 --if-exists
@ --alter --topic orders --partitions 6 --config a=b
@ --alter --topic orders --partitions 6 --replica-assignment 1,1,1,1,1,1
@ --alter --topic orders --partitions 7 --delete-config a
@ --describe --topic orders
@ --delete --topic 'q.*'
@ --delete --topic nope
@ --delete --topic nope --if-exists
@ --delete
@ --delete --topic
@ --list --partitions 3
@ --list --if-exists
@ --list --command-config FOLDER/nope
--bootstrap-server localhost --list
--bootstrap-server '' --list
--bootstrap-server localhost:99999 --list
@ --delete --topic 'a.*,dash,orders'
@ --list
""",
)

PRODUCER = "kafka-console-producer"
CONSUMER = "kafka-console-consumer"
PRODUCE = [
    Step("kafka-topics @ --create --topic lines"),
    Step("kafka-topics @ --create --topic keyed --partitions 3"),
    *lines(
        PRODUCER,
        """
--help
--version

--topic x
@
@ --topic x --nosuch 1
@ --topic x --batch-size abc
--bootstrap-server bad --topic x
@ --topic lines --line-reader nosuch
@ --topic lines --compression-codec nosuch
@ --topic lines --producer-property acks=foo
@ --topic lines --request-required-acks 7
@ --topic lines --producer.config FOLDER/nope
@ --topic lines --producer.config FOLDER/nope --command-config FOLDER/nope
@ --topic lines --property a=b --reader-property c=d
@ --topic lines --property key.separator=, --property headers.separator=, --property headers.delimiter=,
""",
    ),
    Step(f"{PRODUCER} @ --topic lines", "one\ntwo\r\nthree"),
    Step(f"{PRODUCER} @ --topic lines --sync --compression-codec", "four\n"),
    Step(f"{PRODUCER} @ --topic lines --property parse.key=true --property key.separator=:", "k1:v1\n:empty\n"),
    Step(f"{PRODUCER} @ --topic lines --reader-property parse.key=true", "k\tv\nnokey\n"),
    Step(f"{PRODUCER} @ --topic lines --reader-property parse.key=true --reader-property ignore.error=true", "nokey\n"),
    Step(
        f"{PRODUCER} @ --topic lines --reader-property parse.key=true --reader-property parse.headers=true",
        "h1:a,h2:b\tk\tv\n",
    ),
    Step(
        f"{PRODUCER} @ --topic lines --reader-property parse.key=true --reader-property parse.headers=true",
        "h1\tk\tv\n",
    ),
    Step(
        f"{PRODUCER} @ --topic lines --reader-property parse.key=true --reader-property null.marker=NULL",
        "NULL\tNULL\n",
    ),
    Step(
        f"{PRODUCER} @ --topic keyed --reader-property parse.key=true --reader-property key.separator=:",
        "".join(f"key{number}:value{number}\n" for number in range(10)),
    ),
    *lines(
        CONSUMER,
        """
--help
--version

@
--topic lines
@ --topic lines --include e
@ --topic lines --partition 0 --offset earliest --max-messages 10
@ --topic lines --partition 0 --offset 6 --max-messages 4 --formatter-property print.key=true \
 --formatter-property print.headers=true
@ --topic lines --partition 0 --from-beginning --max-messages 2 --property print.key=true \
 --property print.offset=true --property print.partition=true --property print.timestamp=true \
 --property print.epoch=true --property key.separator=/
@ --topic lines --partition 0 --offset 8 --max-messages 2 --formatter-property print.key=true \
 --formatter-property null.literal=NONE --formatter-property line.separator=;
@ --topic lines --partition 0 --from-beginning --max-messages 2 --formatter-property print.value=false \
 --formatter-property print.offset=true
@ --topic keyed --partition 0 --from-beginning --timeout-ms 1500 --formatter-property print.key=true
@ --topic keyed --partition 1 --from-beginning --timeout-ms 1500 --formatter-property print.key=true
@ --topic lines --partition 0 --offset x
@ --topic lines --partition 0 --offset -3
@ --topic lines --offset 1
@ --topic lines --partition 0 --offset 1 --from-beginning
@ --topic lines --partition 0 --group g
@ --include li --partition 0
@ --topic lines --group g --consumer-property group.id=h
@ --topic lines --group g --from-beginning --consumer-property auto.offset.reset=latest
@ --topic lines --partition 0 --formatter nosuch
@ --topic lines --partition 0 --max-messages x
@ --topic lines --isolation-level nosuch --max-messages 1
@ --topic lines --partition 0 --from-beginning --max-messages 1 \
 --formatter org.apache.kafka.tools.consumer.LoggingMessageFormatter
@ --topic lines --partition 0 --from-beginning --max-messages 1 \
 --formatter org.apache.kafka.tools.consumer.NoOpMessageFormatter
@ --topic lines --partition 0 --from-beginning --max-messages 1 --formatter-property print.key=true \
 --key-deserializer org.apache.kafka.common.serialization.LongDeserializer
@ --topic lines --partition 0 --from-beginning --max-messages 2 --skip-message-on-error \
 --formatter-property print.key=true --key-deserializer org.apache.kafka.common.serialization.LongDeserializer
@ --topic lines --partition 0 --offset 4 --max-messages 1 \
 --value-deserializer org.apache.kafka.common.serialization.ShortDeserializer
@ --topic lines --partition 0 --from-beginning --max-messages 1 --enable-systest-events --isolation-level read_committed
@ --topic lines --group reader --from-beginning --max-messages 3
@ --topic lines --group reader --max-messages 2 --command-property max.poll.records=7
@ --include 'li.*s' --group pattern --from-beginning --max-messages 2
""",
    ),
    Step(f"{CONSUMER} @ --topic bad/topic --group bad --timeout-ms 1000"),
    Step(f"{CONSUMER} @ --topic '^lines' --group bad --timeout-ms 1000"),
    Step("kafka-topics @ --create --topic fractions"),
    Step(f"{PRODUCER} @ --topic fractions", "abcd\n????\n@@@@\nF@@@\nL@@@\n    \nabcdefgh\n@@@@@@@@\n????????\n"),
    *lines(
        CONSUMER,
        """
@ --topic fractions --partition 0 --from-beginning --max-messages 6 \
 --value-deserializer org.apache.kafka.common.serialization.FloatDeserializer
@ --topic fractions --partition 0 --offset 6 --max-messages 3 \
 --value-deserializer org.apache.kafka.common.serialization.DoubleDeserializer
@ --topic fractions --partition 0 --offset 6 --max-messages 1 --value-deserializer nosuch
@ --topic lines --partition 0 --from-beginning --max-messages 0
@ --include '(?!k)l\\w+' --group pattern --from-beginning --max-messages 2
""",
    ),
    Step(f"{PRODUCER} @ --topic lines --command-property max.request.size=1000", f"{'x' * 1100}\nafter\n"),
    Step(f"{PRODUCER} @ --topic lines --sync --command-property max.request.size=1000", f"{'x' * 1100}\nafter\n"),
    *lines(
        CONSUMER,
        """
@ --topic lines --group '' --timeout-ms 1000
@ --topic lines --command-property group.id= --timeout-ms 1000
@ --topic lines --partition 0 --from-beginning --max-messages 1 --command-property group.protocol=nosuch
""",
    ),
    *lines(
        PRODUCER,
        """
@ --topic lines --command-property enable.idempotence=maybe
@ --topic lines --command-property max.block.ms=abc
@ --topic lines --command-property buffer.memory=-1
@ --topic lines --command-property enable.idempotence=true --request-required-acks 1
@ --topic lines --command-property enable.idempotence=true --message-send-max-retries 0
@ --topic lines --command-property enable.idempotence=true \
 --command-property max.in.flight.requests.per.connection=6
@ --topic lines --request-required-acks 1 --message-send-max-retries 0
@ --topic lines --max-partition-memory-bytes 100
@ --topic lines --max-partition-memory-bytes 100 --batch-size 100
""",
    ),
]

PACKAGE = "org.apache.kafka.tools.consumer"
RECORDS = [
    Step("kafka-topics @ --create --topic groups"),
    Step("kafka-topics @ --create --topic transactions"),
    Step("", records="groups"),
    Step("", records="transactions"),
    *lines(
        CONSUMER,
        f"""
@ --topic groups --partition 0 --from-beginning --timeout-ms 1500 --formatter {PACKAGE}.OffsetsMessageFormatter
@ --topic groups --partition 0 --from-beginning --timeout-ms 1500 --formatter {PACKAGE}.GroupMetadataMessageFormatter
@ --topic transactions --partition 0 --from-beginning --timeout-ms 1500 \
 --formatter {PACKAGE}.TransactionLogMessageFormatter
@ --topic __consumer_offsets --group pattern --from-beginning --max-messages 1 \
 --formatter {PACKAGE}.NoOpMessageFormatter
@ --include '__consumer_.*' --group pattern --timeout-ms 1500
@ --include '__consumer_.*' --group pattern --from-beginning --max-messages 1 \
 --formatter {PACKAGE}.NoOpMessageFormatter \
 --command-property exclude.internal.topics=false
@ --topic groups --partition 0 --from-beginning --max-messages 1 \
 --formatter kafka.coordinator.group.GroupMetadataManager$OffsetsMessageFormatter
""",
    ),
]

CONFIGS = [
    Step("kafka-topics @ --create --topic settings --partitions 2"),
    *lines(
        "kafka-configs",
        """
--help
--version

@
--describe --entity-type topics
@ --describe
@ --describe --alter
@ --describe --entity-type topics --entity-name settings
@ --describe --topic settings
@ --alter --topic settings
@ --alter --topic settings --add-config retention.ms=5000,cleanup.policy=[compact,delete]
@ --describe --topic settings
@ --describe --topic settings --all
@ --alter --topic settings --delete-config retention.ms,segment.bytes
@ --alter --topic settings --add-config-file FOLDER/add.properties --delete-config cleanup.policy
@ --describe --entity-type topics --entity-name settings
@ --alter --topic settings --add-config nosuch=1
@ --alter --topic settings --add-config retention.ms=soon
@ --alter --topic settings --add-config retention.ms
@ --alter --topic settings --add-config 'a b=1'
@ --alter --topic nope --add-config retention.ms=1
@ --describe --topic nope
@ --describe --topic bad/topic
@ --alter --entity-type topics --add-config retention.ms=1
@ --alter --topic settings --add-config a=1 --add-config-file FOLDER/add.properties
@ --alter --topic settings --add-config-file FOLDER/nope
@ --describe --entity-type brokers --entity-name 1
@ --describe --broker x
@ --describe --broker 7
@ --describe --entity-type nosuch
@ --describe --entity-type topics --entity-type brokers
@ --describe --entity-type topics --topic settings
@ --describe --entity-type topics --entity-default
@ --describe --entity-type topics --entity-name a --entity-type topics
@ --bootstrap-controller x:1 --describe --topic a
@ --describe --topic settings --nosuch
@ --describe --topic settings --add-config a=1
""",
    ),
]

OFFSETS = [
    Step("kafka-topics @ --create --topic numbers --partitions 2"),
    Step(
        f"{PRODUCER} @ --topic numbers --reader-property parse.key=true --reader-property key.separator=:",
        "".join(f"key{number}:value{number}\n" for number in range(10)),
    ),
    *lines(
        "kafka-get-offsets",
        """
--help
--version

@ --topic numbers
@ --topic numbers --time -2
@ --topic numbers --time earliest
@ --topic numbers --time latest
@ --topic numbers --time 0
@ --topic numbers --time 99999999999999
@ --topic numbers --time nosuch
@ --topic numbers --partitions 0
@ --topic numbers --partitions 0,5
@ --topic numbers --partitions x
@ --topic nope
@ --topic-partitions numbers:0
@ --topic-partitions 'num.*:0-1,numbers:1-'
@ --topic-partitions numbers:0 --topic numbers
--broker-list localhost:9092 --topic numbers
--bootstrap-server localhost --topic numbers
--topic numbers
""",
    ),
    *lines(
        "kafka-delete-records",
        """
--help
--version

@
@ --offset-json-file FOLDER/delete.json
@ --offset-json-file FOLDER/twice.json
@ --offset-json-file FOLDER/nonsense
@ --offset-json-file FOLDER/version.json
@ --offset-json-file FOLDER/empty.json
@ --offset-json-file FOLDER/nope
""",
    ),
    Step("kafka-get-offsets @ --topic numbers --time earliest"),
    *lines(
        "kafka-log-dirs",
        """
--help
--version

@
@ --describe --broker-list 7
@ --describe --broker-list x
""",
    ),
    *lines(
        "kafka-broker-api-versions",
        """
--help
--version

--bootstrap-server localhost
""",
    ),
    *lines(
        "kafka-cluster",
        """

cluster-id
unregister @
list-endpoints @
""",
    ),
]

STORAGE = lines(
    "kafka-storage",
    """

random-uuid
random-uuid x
format
format -t b3R0bGEtcmVmZXJlbmNlLQ
format -t b3R0bGEtcmVmZXJlbmNlLQ -c FOLDER/voters.properties
format -t b3R0bGEtcmVmZXJlbmNlLQ -c FOLDER/voters.properties
format -t b3R0bGEtcmVmZXJlbmNlLQ -c FOLDER/voters.properties -g
format --cluster-id b3R0bGEtcmVmZXJlbmNlLA -c FOLDER/voters.properties --ignore-formatted
format -t b3R0bGEtcmVmZXJlbmNlLQ --config FOLDER/voters.properties --standalone
format -t b3R0bGEtcmVmZXJlbmNlLQ -c FOLDER/dynamic.properties --standalone
format -t b3R0bGEtcmVmZXJlbmNlLQ -c FOLDER/dynamic.properties -s -g
format -t b3R0bGEtcmVmZXJlbmNlLQ -c FOLDER/dynamic.properties -s -N
format -t b3R0bGEtcmVmZXJlbmNlLQ -c FOLDER/number.properties
format -t b3R0bGEtcmVmZXJlbmNlLQ -c FOLDER/nope
info -c FOLDER/voters.properties
info -c FOLDER/dynamic.properties
info -c FOLDER/absent.properties
""",
)
