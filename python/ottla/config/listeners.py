"""Listeners: where the broker listens, and what it tells clients to connect to.

`NAME://host:port`, several separated by commas. The name says which security protocol is spoken, through
`listener.security.protocol.map`; names and ports differ from listener to listener. The rules are those of Kafka's
SocketServerConfigs and KafkaConfig: an advertised listener is one of the listeners and has a host clients can connect
to, so 0.0.0.0 is refused there, and an empty one stands for the machine's name; without an advertised address the
listener's own is used, and the machine's name where that one is empty or 0.0.0.0.
"""

from __future__ import annotations

import re

from msgspec import Struct

from ottla.config.setting import INT_MAX

_ENDPOINT = re.compile(r"(?P<name>[^:/\s]+)://(?P<host>\[[0-9a-fA-F:.%]+\]|[^:\[\]/\s]*):(?P<port>-?\d+)")
_HOST_PORT = re.compile(r"(?P<host>\[[0-9a-fA-F:.%]+\]|[^:\[\]/\s]*):(?P<port>\d+)")
_HOST = re.compile(r"[0-9a-zA-Z\-%._:]+")
_COUNT = re.compile(r"[0-9]{1,10}")
_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_ANY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - recognised, not bound
_ANY_HOST = ("", *_ANY_ADDRESS)


class Endpoint(Struct, frozen=True):
    """A listener by name, host and port."""

    name: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.name}://{host}:{self.port}"


def parse_host_port(text: str) -> tuple[str, int]:
    """Read HOST:PORT as the command line has it; raises ValueError with a sentence."""
    found = _HOST_PORT.fullmatch(text.strip())
    if found is None or int(found["port"]) > 65_535:
        raise ValueError(f"{text!r} is not HOST:PORT with a port of 0 to 65535")
    return found["host"].strip("[]"), int(found["port"])


def parse_endpoints(values: list[str]) -> list[Endpoint]:
    """Read the entries of `listeners` or `advertised.listeners`; raises ValueError with a sentence."""
    endpoints: list[Endpoint] = []
    for value in values:
        found = _ENDPOINT.fullmatch(value)
        if found is None or not 0 <= int(found["port"]) <= 65_535:
            raise ValueError(f"{value!r} is not NAME://host:port with a port of 0 to 65535")
        endpoints.append(Endpoint(found["name"].upper(), found["host"].strip("[]"), int(found["port"])))
    names = [endpoint.name for endpoint in endpoints]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"each listener has its own name, but {name} stands there twice")
    return endpoints


def parse_protocol_map(text: str) -> dict[str, str]:
    """Read NAME:PROTOCOL,...; raises ValueError with a sentence."""
    found: dict[str, str] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, protocol = (word.strip().upper() for word in (*entry.split(":", 1), "")[:2])
        if protocol not in _PROTOCOLS or not name:
            raise ValueError(f"{entry!r} is not NAME:PROTOCOL with a protocol of {', '.join(_PROTOCOLS)}")
        # Kafka lets the last of two count; the same thing said twice is common, two different ones are a mistake.
        if found.setdefault(name, protocol) != protocol:
            raise ValueError(f"listener {name} is mapped to both {found[name]} and {protocol}")
    return found


def parse_counts_by_host(text: str) -> dict[str, int]:
    """Read host:count,... as max.connections.per.ip.overrides has it; raises ValueError with a sentence."""
    found: dict[str, int] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        # An address may have colons of its own, in brackets or not.
        host, _, count = (word.strip() for word in entry.rpartition(":"))
        host = host.removeprefix("[").removesuffix("]")
        if not _HOST.fullmatch(host) or not _COUNT.fullmatch(count):
            raise ValueError(f"{entry!r} is not host:count with a count of 0 to 2147483647")
        found[host] = int(count)
        if found[host] > INT_MAX:
            raise ValueError(f"{entry!r} is not host:count with a count of 0 to 2147483647")
    return found


def problems_of_listeners(endpoints: list[Endpoint], protocols: dict[str, str]) -> list[str]:
    """Say what keeps these listeners from being opened."""
    problems = []
    for endpoint in endpoints:
        protocol = protocols.get(endpoint.name)
        if protocol is None:
            problems.append(
                f"listeners: {endpoint} has no security protocol; add {endpoint.name}:PLAINTEXT to "
                "listener.security.protocol.map"
            )
        elif protocol != "PLAINTEXT":
            problems.append(f"listeners: {endpoint} speaks {protocol}, which is not served in this version")
    fixed = [endpoint.port for endpoint in endpoints if endpoint.port != 0]
    hosts_by_port = {port: [e.host for e in endpoints if e.port == port] for port in fixed}
    for port, hosts in hosts_by_port.items():
        if len(set(hosts)) < len(hosts) or (len(hosts) > 1 and any(host in _ANY_HOST for host in hosts)):
            problems.append(f"listeners: port {port} is used twice; each listener needs its own")
    return problems


def problems_of_advertised(advertised: list[Endpoint], listeners: list[Endpoint]) -> list[str]:
    """Say what is wrong with the addresses clients are told."""
    names = [listener.name for listener in listeners]
    problems = []
    for endpoint in advertised:
        if endpoint.name not in names:
            problems.append(
                f"advertised.listeners: {endpoint} is none of the listeners; allowed names: {', '.join(names)}"
            )
        if endpoint.host in _ANY_ADDRESS:
            problems.append(
                f"advertised.listeners: {endpoint} names no host clients can connect to; give a name or an address"
            )
    return problems


def advertised_of(listener: Endpoint, advertised: list[Endpoint], machine: str) -> Endpoint:
    """Give the address clients of a listener are told; its port stays 0 while the bound port is not known."""
    for endpoint in advertised:
        if endpoint.name == listener.name:
            return Endpoint(endpoint.name, endpoint.host or machine, endpoint.port)
    return Endpoint(listener.name, machine if listener.host in _ANY_HOST else listener.host, listener.port)
