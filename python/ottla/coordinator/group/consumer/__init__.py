"""Consumer groups of the new protocol (KIP-848): the coordinator assigns, members converge heartbeat by heartbeat.

Reading order: `state` (theory, and the states of a group and a member), `member`, `reconcile` (a member's next step, a
pure function), `assignors` (who shall have what, pure functions), `group` (one group: the fold of its records),
`records` (what is written), `topics` (what is asked of the cluster), `heartbeat` (the one request that drives it all),
`fencing` (how members go), `patterns` (subscriptions by regular expression), `upgrade` and `downgrade` (from and to the
classic protocol), `classic_members` (members of the classic protocol in such a group).
"""
