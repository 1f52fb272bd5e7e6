"""How the message schemas are read from Kafka's jars and written as Rust tables and Python classes."""
