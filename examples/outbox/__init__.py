"""An outbox beside SQLite: what a database says happened is in the log, once, whoever is killed.

python -m examples.outbox

shop      child: takes orders, each in one transaction with what is to be said of it
relay     child: from the outbox into the log, the position in the same commit; killed again and again
__main__  the run: kills, waits, compares
"""
