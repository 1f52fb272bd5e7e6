"""Ottla seen through the clients that people use: kafka-python and librdkafka."""
