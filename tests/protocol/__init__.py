"""The codec against other people's: kio, kafka-python and Kafka itself, and against bad input."""
