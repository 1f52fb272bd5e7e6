#!/bin/sh
# The settings the environment describes, as a file: start scripts made for cp-kafka call this before `launch`.
exec /opt/ottla/bin/ottla container show > /etc/kafka/kafka.properties
