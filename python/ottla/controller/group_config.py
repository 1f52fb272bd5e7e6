"""What a group sets itself (KIP-1005), read from the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.controller.image import GROUP_RESOURCE

if TYPE_CHECKING:
    from ottla.controller.image import MetadataImage


def group_config(image: MetadataImage, group_id: str) -> dict[str, int]:
    """Its numbers by the name of the setting; they were checked when they were set."""
    entries = image.configs.get((GROUP_RESOURCE, group_id))
    if not entries:
        return {}
    return {name: int(text) for name, text in entries.items() if text.isdecimal()}
