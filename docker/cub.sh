#!/bin/sh
# cp-kafka's `cub`, newer `ub`, as compose files use it before they make topics: wait for so many brokers, for so many seconds.
#   cub kafka-ready -b kafka:9092 1 40
set -eu
refuse() { echo "cub: $1" >&2; exit 1; }
[ $# -gt 0 ] || refuse "write cub kafka-ready -b HOST:PORT BROKERS SECONDS"
command=$1
shift
case $command in
  zk-ready) echo "cub: no ZooKeeper is needed, none is waited for" >&2; exit 0 ;;
  kafka-ready) ;;
  *) refuse "$command is not part of this image; kafka-ready is" ;;
esac
servers='' expected='' seconds='' config=''
while [ $# -gt 0 ]; do
  case $1 in
    -b | --bootstrap-servers | -z | --zookeeper-connect | -s | --security-protocol | -c | --config)
      [ $# -gt 1 ] || refuse "$1 needs a value"
      case $1 in
        -b | --bootstrap-servers) servers=$2 ;;
        -c | --config) config=$2 ;;
        -z | --zookeeper-connect) refuse "$1: brokers are not found by ZooKeeper, write -b HOST:PORT" ;;
        *) [ "$2" = PLAINTEXT ] || refuse "$1 $2: only PLAINTEXT is spoken" ;;
      esac
      shift 2
      ;;
    *)
      case $1 in '' | *[!0-9]*) refuse "$1 is no number of brokers or seconds" ;; esac
      if [ -z "$expected" ]; then expected=$1; elif [ -z "$seconds" ]; then seconds=$1; else refuse "$1 is too much"; fi
      shift
      ;;
  esac
done
[ -n "$servers" ] && [ -n "$seconds" ] || refuse "write cub kafka-ready -b HOST:PORT BROKERS SECONDS"
listed=$(OTTLA_TOOLS_WAIT_S=$seconds kafka-cluster list-endpoints --bootstrap-server "$servers" ${config:+--command-config "$config"})
# The first line is the table's head.
found=$(($(printf '%s\n' "$listed" | wc -l) - 1))
[ "$found" -ge "$expected" ] || refuse "$found of $expected brokers are up; a node of Ottla is its own cluster"
