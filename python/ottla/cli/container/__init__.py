"""The container's entrypoint: the environment variables of the known Kafka images become settings.

`names` knows the variables, `environment` makes settings of them, `directories` finds where data and a mounted
configuration lie, `run` puts these together and serves, `topics` makes the topics of KAFKA_CREATE_TOPICS, `health` asks
the running broker whether it answers. docs/container.md is the page for users.
"""
