"""336,776 flights in a log, and any moment of 2013 looked at as it was known then, with polars.

python -m examples.timetravel

travel    flights into a log by their time, what was known at a time, and what may be asked of it
__main__  the run: a few moments, each compared with the table itself
"""
