"""Consumer groups: who is a member, what each is assigned, which offsets are committed.

Reading order: `state` (the states of a classic group, and which follow which), `members` and `classic_group` (one
group), `join`, `rebalance`, `session` (what requests and deadlines do to it), `offsets`, `records` (what is written),
`machine` (a shard: all groups of one partition), `coordinator` (what handlers call).
"""
