"""`tail -f` of a log that another process writes.

python -m examples.tail DIRECTORY

follow    the last records, then those that come, over whatever the owner does to the log
writer    child, where there is no log to be followed: an owner that writes, and cuts old records off
__main__  the command; without a directory a demonstration
"""
