"""Programs that use Ottla as a user would. Run from the root of the repository.

Each folder is one program, `python -m examples.NAME`, that reads as it would be written against any Kafka. What has
nothing to do with Kafka is shared: `children` starts processes and leaves none behind, `stage` is a broker, topics and
a cast of processes for as long as a program runs.
"""
