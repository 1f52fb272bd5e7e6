"""What a group sets itself (KIP-1005), read from the image."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from ottla.config.group_config import GROUP_CONFIGS
from ottla.config.setting import InvalidValue
from ottla.controller.image import GROUP_RESOURCE

if TYPE_CHECKING:
    from ottla.controller.image import MetadataImage


def group_config(image: MetadataImage, group_id: str) -> dict[str, int]:
    """Its numbers by the name of the setting; they were checked when they were set.

    Text is kept as it came (" 6000 "). Apache Kafka 4.3.1 shows such a value, but its coordinator stumbles over the
    blanks: the group's settings are neither used nor listed.
    """
    texts = image.configs.get((GROUP_RESOURCE, group_id))
    if not texts:
        return {}
    found = {}
    for name, text in texts.items():
        setting = GROUP_CONFIGS.get(name)
        if setting is not None:
            # A directory of Apache Kafka's may hold what a later version knows.
            with suppress(InvalidValue):
                value = setting.parse(text)
                assert isinstance(value, int)
                found[name] = value
    return found
