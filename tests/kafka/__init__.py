"""Apache Kafka as the reference: its broker and tools, by Maven coordinates (see pom.xml)."""
