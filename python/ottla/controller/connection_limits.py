"""The bounds on connections that hold: the broker's own, and what is altered while it runs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ottla.config.dynamic import Dynamic, effective

if TYPE_CHECKING:
    from collections.abc import Callable

    from ottla.config import BrokerConfig
    from ottla.controller.image import MetadataImage

log = logging.getLogger(__name__)


class ConnectionLimits:
    """Gives the data plane other bounds when the image has others; the broker's own it has from its start."""

    def __init__(self, config: BrokerConfig, alter: Callable[[dict[str, int], dict[str, int]], None]) -> None:
        self._config = config
        self._alter = alter
        self._shown = Dynamic()

    def show(self, image: MetadataImage) -> None:
        """Look at the image; what cannot be used there is said and leaves the rest as it is."""
        dynamic = image.dynamic_of(self._config.node_id)
        if dynamic == self._shown:
            return
        self._shown = dynamic
        config, unreadable = effective(self._config, dynamic)
        for sentence in unreadable:
            log.warning("broker %d: %s", config.node_id, sentence)
        try:
            self._alter(config.limits, config.connections_of_hosts)
        except ValueError as error:
            # A host without an address.
            log.warning("broker %d goes on with the bounds on connections it had: %s", config.node_id, error)
