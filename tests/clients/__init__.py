"""Ottla seen through the clients that people use: kafka-python, aiokafka, librdkafka, KafkaJS, franz-go, Java."""
