"""Many producers into one topic: electricity meters, each a process of its own, and one collector.

python -m examples.meters

meter      child: measures, stores, sends what is not acknowledged; two kinds of client
collector  child: adds up what comes, each reading once    __main__    the run: kills, waits, compares
"""
