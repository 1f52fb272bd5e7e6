"""Coordinators: state machines over a log.

A coordinator's state is a fold over one partition of an internal topic. `runtime` runs one shard per partition: it
appends what a state machine decides, waits for the commit, and rebuilds the state by applying the same records again.
`group` is the state machine of consumer groups, `transaction` that of transactional producers.

Nothing here knows a socket, a byte of the wire or the time: journal, codec, clock, deadlines and chance come in by
constructor.
"""
