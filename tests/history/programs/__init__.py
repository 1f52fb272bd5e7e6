"""Client programs of a chaos run: processes that can be killed, each in several client libraries.

All are called alike, `PROGRAM ROLE PROCESS BOOTSTRAP key=value ...`, write the events of `tests.history.events` to
stdout, a line each, and end in order on SIGTERM. The roles, whatever the language:

transform  source target group id [protocol] [session_ms] [abort_every]
    Consumes at read_committed, and in one transaction writes each record to `target` (to the partition with the same
    number, as "value~txn") and commits the group's offsets. Every `abort_every`-th transaction is aborted on purpose.
    An error that the client calls fatal ends the program with 1; whoever leads the run starts the next one.
member     topic group [protocol] [session_ms] [count]
    Consumes, and commits what it has been given after each poll. With `count`, which only Java knows, one process is
    several members, "name-0", "name-1", ...
transfer   topic id partitions [abort_every]
    Moves amounts between accounts: each transaction writes two records, "-n" and "+n" in front of a name, to two
    partitions by chance.

`protocol` is `classic` (with `assignor`, if it is not to be cooperative-sticky where the library can) or `consumer`
(KIP-848).
"""
