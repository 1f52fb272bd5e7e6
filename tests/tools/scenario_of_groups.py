"""What is typed with kafka-consumer-groups: groups with members, without, and none."""

from __future__ import annotations

from tests.tools.scenario import CONSUMER, PRODUCER, Step, lines

QUIET = "--formatter org.apache.kafka.tools.consumer.NoOpMessageFormatter"
GROUPS = [
    Step("kafka-topics @ --create --topic events --partitions 3"),
    Step(
        f"{PRODUCER} @ --topic events --reader-property parse.key=true --reader-property key.separator=:",
        "".join(f"key{number}:value{number}\n" for number in range(10)),
    ),
    Step(f"{CONSUMER} @ --topic events --group g --from-beginning --max-messages 10 {QUIET}"),
    Step("", member=("live", "events", None)),
    Step("", member=("static", "events", "instance-1")),
    *lines(
        "kafka-consumer-groups",
        """
--help
--version

--list
@
@ --list --describe
~@ --list
~@ --list --state
~@ --list --type
~@ --list --state --type
~@ --list --state Stable --type classic
~@ --list --state=empty
@ --list --state nosuch
@ --list --type nosuch
@ --list --group g
@ --describe
@ --describe --group g
@ --describe --group nope
@ --describe --group nope --members
@ --describe --group g --members
@ --describe --group g --members --verbose
@ --describe --group g --state
@ --describe --group g --state --verbose
@ --describe --group g --offsets --verbose
@ --describe --group g --state --members
@ --describe --group g --all-groups
@ --describe --group g --state x
@ --describe --group g --group live
@ --describe --group live
@ --describe --group live --members
@ --describe --group live --members --verbose
@ --describe --group live --state
@ --describe --group live --offsets --verbose
@ --describe --group static --members --verbose
@ --delete --group live
@ --delete --group nope
~@ --delete --group live --group nope
@ --delete
@ --delete --group g --topic x
@ --members
@ --reset-offsets --group g
@ --reset-offsets --group g --topic events
@ --reset-offsets --group g --topic events --to-earliest
~@ --reset-offsets --group g --topic events --to-earliest --dry-run
~@ --reset-offsets --group g --topic events --to-latest --execute
@ --describe --group g
@ --reset-offsets --group g --topic events:0 --to-offset 1 --execute
@ --reset-offsets --group g --topic events:0 --to-offset 1000 --dry-run
~@ --reset-offsets --group g --topic events:0,1 --shift-by -1 --dry-run
@ --reset-offsets --group g --topic events:0 --shift-by -1000 --dry-run
~@ --reset-offsets --group g --all-topics --to-current --dry-run
~@ --reset-offsets --group g --all-topics --to-datetime 2020-01-01T00:00:00.000 --dry-run
~@ --reset-offsets --group g --all-topics --to-datetime 2020-01-01T00:00:00.000+02:00 --dry-run
~@ --reset-offsets --group g --all-topics --to-datetime 2020-01-01T00:00:00.000Z --dry-run
~@ --reset-offsets --group g --all-topics --to-datetime 2120-01-01T00:00:00.000 --dry-run
@ --reset-offsets --group g --all-topics --to-datetime yesterday --dry-run
@ --reset-offsets --group g --all-topics --to-datetime 2020-01-01T --dry-run
@ --reset-offsets --group g --all-topics --to-datetime 2020-13-01T00:00:00 --dry-run
~@ --reset-offsets --group g --all-topics --by-duration PT1H --dry-run
~@ --reset-offsets --group g --all-topics --by-duration -PT1H --dry-run
@ --reset-offsets --group g --all-topics --by-duration hour --dry-run
~@ --reset-offsets --group g --all-topics --to-earliest --dry-run --export
~@ --reset-offsets --group g --group h --all-topics --to-earliest --dry-run --export
~@ --reset-offsets --group g --from-file FOLDER/plan.csv --dry-run
@ --reset-offsets --group g --group h --from-file FOLDER/plans.csv --dry-run
@ --reset-offsets --group other --from-file FOLDER/plans.csv --dry-run
@ --reset-offsets --group g --from-file FOLDER/nope --dry-run
@ --reset-offsets --group g --topic events --to-earliest --to-latest --dry-run
@ --reset-offsets --group g --topic events --to-earliest --execute --dry-run
@ --reset-offsets --group live --topic events --to-earliest --execute
~@ --reset-offsets --group fresh --topic events --to-earliest --execute
@ --reset-offsets --group fresh --topic nope --to-earliest --execute
@ --reset-offsets --group fresh --topic events:9 --to-earliest --execute
@ --reset-offsets --group fresh --topic events:x --to-earliest --execute
@ --reset-offsets --group fresher --topic events:0 --shift-by 1 --execute
@ --reset-offsets --group g --topic events --to-offset x --execute
@ --reset-offsets --topic events --to-offset 1 --execute
@ --delete-offsets --group g --topic events:0
@ --delete-offsets --group live --topic events
@ --delete-offsets --group g --topic nope
@ --delete-offsets --group nope --topic events
@ --delete-offsets --group g
@ --describe --group g
@ --describe --group g --timeout x
@ --describe --group g --nosuch
@ --delete --group fresh
@ --delete --group g
@ --describe --group g
--validate-regex a.*
--bootstrap-server localhost --list
""",
    ),
]
