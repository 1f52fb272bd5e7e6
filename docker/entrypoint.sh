#!/bin/sh
# The first process of a container. No arguments, or VARIABLE=value ones: the broker those variables describe.
# A command (sh, kafka-topics, ...): that command. Anything else is a command of ottla: `docker run ottla topic list ...`.
set -eu
case "${1-}" in
  '' | --override | --override=*) exec /opt/ottla/docker/run.sh "$@" ;;
  [A-Za-z_]*=*) exec /opt/ottla/docker/run.sh "$@" ;;
  -*) exec /opt/ottla/bin/ottla "$@" ;;
esac
if command -v "$1" > /dev/null; then
  exec "$@"
fi
exec /opt/ottla/bin/ottla "$@"
