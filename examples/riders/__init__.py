"""Riders tell where they are; each region has partitions of its own; two groups read everything, each for itself.

python -m examples.riders

world      the city, its regions, how riders move        reader    child: a member of `dispatch` or of `trails`
regions    the partitioner: region -> partitions         picture   where everybody went, as a PNG
__main__   the run: sends, kills, waits, compares
"""
