"""Transactions as state machines: nothing here knows sockets, bytes or what time it is.

`coordinator` is the way in, `machine` one shard of it. `state` tells what moves a transaction, `transaction` is one
transactional id with its steps, `initiation` and `ending` decide on the two requests with many corners, `completion`
sees to the markers.
"""
