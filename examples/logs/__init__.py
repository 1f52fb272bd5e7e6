"""Logs of several hosts in one topic: counted by host and level, and searched by time.

python -m examples.logs

app       child: a web server that logs into a file          archive   child: topic -> database, by host and level
shipper   child: follows such a file into the topic          search    offsets_for_times: where to begin to read
__main__  the run: an incident, kills, waits, compares
"""
