"""Ottla seen through the clients that people use: kafka-python, librdkafka, KafkaJS, franz-go."""
