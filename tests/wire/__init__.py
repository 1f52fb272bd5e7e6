"""Ottla seen as bytes on a socket: bad input, and every answer compared with Apache Kafka's."""
