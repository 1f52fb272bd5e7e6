"""Names of environment variables, as the images apache/kafka, bitnami/kafka and confluentinc/cp-kafka read them.

apache/kafka (kafka.docker.KafkaDockerWrapper) and cp-kafka (its properties template): `KAFKA_` in front, then the
setting's name in capitals; `_` stands for a dot, `__` for an underscore, `___` for a dash. bitnami/kafka: `KAFKA_CFG_`
in front, `_` for a dot; for a few settings `KAFKA_` alone. `OTTLA_` is in front of Ottla's own settings.

A few variables with these prefixes are no settings: what is for a JVM, what describes an image, what a Kubernetes
service of the name "kafka" puts into every container beside it.
"""

from __future__ import annotations

import re

_UNDERSCORES = re.compile("_{1,3}")
_MARKS = {1: ".", 2: "_", 3: "-"}

# Kubernetes (and Docker's links) describe a service KAFKA or KAFKA_UI by these; an address instead of a number.
_SERVICE_NAME = re.compile(r"KAFKA_(\w+_)?(SERVICE_(HOST|PORT)(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)")
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://\S+")

LOG_LEVEL_VARIABLES = ("OTTLA_LOG_LEVEL", "KAFKA_LOG4J_ROOT_LOGLEVEL")
BIND_VARIABLE = "OTTLA_BIND_ADDRESS"
CLUSTER_ID_VARIABLES = ("CLUSTER_ID", "KAFKA_CLUSTER_ID", "KAFKA_KRAFT_CLUSTER_ID")
CREATE_TOPICS_VARIABLE = "KAFKA_CREATE_TOPICS"
SEPARATOR_VARIABLE = "KAFKA_CREATE_TOPICS_SEPARATOR"

# Without prefix and of interest all the same.
OTHERS = frozenset({"CLUSTER_ID", "JMX_PORT", "HOSTNAME_COMMAND", "PORT_COMMAND", "BROKER_ID_COMMAND", "RACK_COMMAND"})

FOR_THE_JVM = frozenset(
    {
        "JMX_PORT",
        "KAFKA_DEBUG",
        "KAFKA_GC_LOG_OPTS",
        "KAFKA_HEAP_OPT",
        "KAFKA_HEAP_OPTS",
        "KAFKA_JMX_HOSTNAME",
        "KAFKA_JMX_OPTS",
        "KAFKA_JMX_PORT",
        "KAFKA_JVM_PERFORMANCE_OPTS",
        "KAFKA_LOG4J_LOGGERS",
        "KAFKA_LOG4J_OPTS",
        "KAFKA_OPTS",
        "KAFKA_TOOLS_LOG4J_LOGLEVEL",
    }
)
# bitnami/kafka makes SASL's and TLS's files of these; a listener that would use them is refused by its own sentence.
FOR_SECURITY = frozenset(
    {
        "KAFKA_BROKER_PASSWORD",
        "KAFKA_BROKER_USER",
        "KAFKA_CERTIFICATE_PASSWORD",
        "KAFKA_CLIENT_LISTENER",
        "KAFKA_CLIENT_LISTENER_NAME",
        "KAFKA_CLIENT_PASSWORDS",
        "KAFKA_CLIENT_USERS",
        "KAFKA_CONTROLLER_PASSWORD",
        "KAFKA_CONTROLLER_USER",
        "KAFKA_INTER_BROKER_PASSWORD",
        "KAFKA_INTER_BROKER_USER",
        "KAFKA_KRAFT_BOOTSTRAP_SCRAM_USERS",
        "KAFKA_TLS_CLIENT_AUTH",
        "KAFKA_TLS_TRUSTSTORE_FILE",
        "KAFKA_TLS_TYPE",
    }
)
# Facts of an image, and switches of its scripts for which there is nothing to switch here.
OF_AN_IMAGE = frozenset(
    {
        "KAFKA_BASE_DIR",
        "KAFKA_CONF_DIR",
        "KAFKA_CONF_FILE",
        "KAFKA_DAEMON_GROUP",
        "KAFKA_DAEMON_USER",
        "KAFKA_DATA_DIR",
        "KAFKA_DATA_DIRS",
        "KAFKA_ENABLE_KRAFT",
        "KAFKA_HOME",
        "KAFKA_INITIAL_CONTROLLERS",
        "KAFKA_MOUNTED_CONF_DIR",
        "KAFKA_SKIP_KRAFT_STORAGE_INIT",
        "KAFKA_VERSION",
        "KAFKA_VOLUME_DIR",
        # Where our own commands find a cluster, and how long Kafka's wait for it.
        "OTTLA_BOOTSTRAP_SERVER",
        "OTTLA_TOOLS_WAIT_S",
    }
)
# Settings whose variable is not made by the rule (bitnami/kafka's older names).
ALIASES = {
    "KAFKA_LOGS_DIRS": "log.dirs",
    "KAFKA_MAX_MESSAGE_BYTES": "message.max.bytes",
    "KAFKA_SEGMENT_BYTES": "log.segment.bytes",
    "KAFKA_ZOOKEEPER_CONNECT_TIMEOUT_MS": "zookeeper.connection.timeout.ms",
}
# From before there were listeners; wurstmeister/kafka's files still use them.
HOST_AND_PORT = frozenset(
    {
        "KAFKA_ADVERTISED_HOST",
        "KAFKA_ADVERTISED_HOST_NAME",
        "KAFKA_ADVERTISED_PORT",
        "KAFKA_HOST",
        "KAFKA_HOST_NAME",
        "KAFKA_PORT",
    }
)
# wurstmeister/kafka runs these in a shell and puts what they print where `_{NAME}` stands.
COMMANDS = frozenset({"BROKER_ID_COMMAND", "HOSTNAME_COMMAND", "PORT_COMMAND", "RACK_COMMAND"})


def setting_name(variable: str) -> str | None:
    """Give the setting a variable stands for, None if it has none of the prefixes."""
    if variable in ALIASES:
        return ALIASES[variable]
    for prefix, front in (("KAFKA_CFG_", ""), ("KAFKA_", ""), ("OTTLA_", "ottla.")):
        if variable.startswith(prefix) and len(variable) > len(prefix):
            words = variable.removeprefix(prefix).lower()
            return front + _UNDERSCORES.sub(lambda found: _MARKS[len(found[0])], words)
    return None


def is_about_a_service(variable: str, value: str) -> bool:
    """Say whether Kubernetes or Docker put it here, for a service whose name begins with "kafka"."""
    return bool(
        _SERVICE_NAME.fullmatch(variable)
        or (variable.startswith("KAFKA_") and variable.endswith("_PORT") and _SERVICE_ADDRESS.fullmatch(value))
    )


def is_for_us(variable: str) -> bool:
    """Say whether a variable of the environment is looked at."""
    return variable.startswith(("KAFKA_", "OTTLA_")) or variable in OTHERS
