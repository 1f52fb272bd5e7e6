"""Where the data and a mounted configuration lie: the places the known images have them, found by what is mounted.

A compose file says where its volume goes, seldom that the data is to go there, since its image knows. So the first of
these places that something is mounted on has the data. /var/lib/kafka/data (cp-kafka; apache/kafka declares it too) is
the last: the image declares it a volume, so that it is always mounted, if only on a volume without a name.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DATA_DIR_DEFAULT = "/var/lib/kafka/data"

# Mounted -> where the data goes.
_DATA_DIRS = {
    # bitnami/kafka
    "/bitnami/kafka/data": "/bitnami/kafka/data",
    "/bitnami/kafka": "/bitnami/kafka/data",
    "/bitnami": "/bitnami/kafka/data",
    # apache/kafka's default configuration, and Kafka's own default
    "/tmp/kraft-combined-logs": "/tmp/kraft-combined-logs",  # noqa: S108 - the known images' own places
    "/tmp/kafka-logs": "/tmp/kafka-logs",  # noqa: S108 - the same
    # wurstmeister/kafka adds the host's name, which changes with every new container
    "/kafka": "/kafka/kafka-logs",
    # cp-kafka, apache/kafka
    "/var/lib/kafka": DATA_DIR_DEFAULT,
}
# server.properties as mounted for apache/kafka, and for bitnami/kafka in its two places.
_CONFIG_FILES = (
    "/mnt/shared/config/server.properties",
    "/bitnami/kafka/config/server.properties",
    "/opt/bitnami/kafka/config/server.properties",
)
# mountinfo writes a blank as \040, and so on.
_ESCAPES = {"\\040": " ", "\\011": "\t", "\\012": "\n", "\\134": "\\"}


def data_dir(mounts: set[str]) -> str:
    """Choose the data directory for a container that names none."""
    return next((place for mounted, place in _DATA_DIRS.items() if mounted in mounts), DATA_DIR_DEFAULT)


def mount_points(mountinfo: str) -> set[str]:
    """Read /proc/self/mountinfo: the fifth word of each line; os.path.ismount misses bind mounts."""
    found = set()
    for line in mountinfo.splitlines():
        words = line.split(" ")
        if len(words) > 4:
            path = words[4]
            for escape, char in _ESCAPES.items():
                path = path.replace(escape, char)
            found.add(path)
    return found


def here() -> set[str]:
    """Give the mount points of this process; none where there is no /proc."""
    try:
        return mount_points(Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape"))
    except OSError:
        return set()


def config_file(
    environment: Mapping[str, str], exists: Callable[[str], bool] = lambda path: Path(path).is_file()
) -> str | None:
    """Find a mounted server.properties; KAFKA_MOUNTED_CONF_DIR is bitnami/kafka's way to name its folder."""
    named = environment.get("KAFKA_MOUNTED_CONF_DIR", "").strip()
    places = ([f"{named}/server.properties"] if named else []) + list(_CONFIG_FILES)
    return next((place for place in places if exists(place)), None)


def problem_of(directory: str) -> str | None:
    """Make a data directory; say what keeps the broker from writing there, None if nothing does."""
    path = Path(directory)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror
    else:
        if os.access(path, os.W_OK | os.X_OK):
            return None
        reason = "Permission denied"
    return (
        f"{directory}: {reason}. The broker runs as user {os.getuid()}, group {os.getgid()}: let it write there "
        f"(chown -R {os.getuid()} on the volume), or set the container's user"
    )
