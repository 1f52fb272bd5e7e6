"""Apache Kafka's command line tools without a JVM: the flags, columns, messages and exit codes of version 4.3.1.

One file per tool, each with `run(arguments) -> exit code`. They share `options` (the flags, as joptsimple reads them),
`usage` (what Kafka's CommandLineUtils checks and prints), `words` (names and sentences of the Java client) and
`connection` (from --bootstrap-server and --command-config to a client). `door` makes click commands of them.

What a tool says and ends with is Kafka's also where `ottla topic` and the others would do it better, since scripts read
it: exit code 1 for a wrong flag, 0 for a group that does not exist. What differs is in docs/kafka-commands.md.
"""

from __future__ import annotations

# The version whose tools these are; what `--version` prints.
KAFKA_VERSION = "4.3.1"
