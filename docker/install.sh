#!/bin/sh
# Run once, as root, while the image is built: the user, the places data may be mounted on, the paths of the known images.
set -eu
here=/opt/ottla/docker
chmod 755 "$here"/*.sh
useradd --uid 1000 --gid 0 --create-home --home-dir /home/appuser --shell /bin/bash appuser

ln -s /opt/ottla/bin/ottla /usr/local/bin/ottla

# Scripts by the names under which test libraries and compose files call them: those may be replaced, so they are copies.
mkdir -p /etc/kafka/docker /etc/confluent/docker /opt/bitnami/scripts/kafka /etc/kafka/secrets
cp "$here/run.sh" /etc/kafka/docker/run
for name in run launch; do cp "$here/run.sh" "/etc/confluent/docker/$name"; done
cp "$here/configure.sh" /etc/confluent/docker/configure
cp "$here/bash-config" /etc/confluent/docker/bash-config
cp "$here/run.sh" /opt/bitnami/scripts/kafka/run.sh
cp "$here/entrypoint.sh" /opt/bitnami/scripts/kafka/entrypoint.sh

# What `kafka-server-start.sh` is given in the examples of apache/kafka.
mkdir -p /opt/kafka/bin /opt/kafka/config/kraft /opt/bitnami/kafka
for directory in /opt/kafka/config /opt/kafka/config/kraft; do cp "$here/server.properties" "$directory"; done

# Kafka's commands, where a shell in one of those images has them.
for directory in /opt/kafka/bin /opt/bitnami/kafka/bin /usr/bin; do /opt/ottla/bin/ottla install-tools "$directory"; done
for name in cub ub; do cp "$here/cub.sh" "/usr/bin/$name"; done

# A volume takes owner and mode of the place it is first mounted on.
places="/var/lib/kafka/data /bitnami/kafka/data /bitnami/kafka/config /kafka /tmp/kraft-combined-logs /tmp/kafka-logs /mnt/shared/config"
# shellcheck disable=SC2086 # a list of words
mkdir -p $places
# Group 0 may do what the user may: platforms that choose the user themselves leave the group.
for place in /var/lib/kafka /opt/kafka/config /bitnami /kafka /tmp/kraft-combined-logs /tmp/kafka-logs /mnt/shared /etc/kafka /etc/confluent /home/appuser; do
  chown -R 1000:0 "$place"
  chmod -R g=u "$place"
done
chmod o=rx /home/appuser
