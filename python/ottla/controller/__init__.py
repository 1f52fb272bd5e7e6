"""The controller: what exists, and how it changes.

`image` is a fold over the records of `__cluster_metadata`; `create_topics`, `create_partitions`, `delete_topics`,
`alter_configs`, `producer_ids` and `registration` decide, purely, which records a request becomes and what each of its
items is answered; `controller` appends them one batch after the other and applies what is committed. Names, error codes
and sentences are those Apache Kafka 4.3.1 answers.
"""
