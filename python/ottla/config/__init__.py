"""THE table of settings and everything made from it.

`setting` is one entry and how text becomes a value; `topic_settings`, `broker_settings`, `transaction_settings`,
`group_settings` and `group_config` are the table; `inert` are the names accepted without effect, with the reason;
`properties` reads files, `listeners` reads endpoints; `broker_config` and `topic_config` are the checked results.
`ottla serve --help`, `ottla settings`, DescribeConfigs and the docs page all read the table, so none of them can say
anything else than the broker does.
"""

from ottla.config.broker_config import BrokerConfig, Given, given_in_file, load, shortcuts
from ottla.config.broker_settings import BROKER_SETTINGS
from ottla.config.group_config import GROUP_CONFIGS
from ottla.config.inert import WITHOUT_EFFECT
from ottla.config.listeners import Endpoint
from ottla.config.setting import Kind, Setting
from ottla.config.topic_settings import TOPIC_SETTINGS

__all__ = [
    "BROKER_SETTINGS",
    "GROUP_CONFIGS",
    "TOPIC_SETTINGS",
    "WITHOUT_EFFECT",
    "BrokerConfig",
    "Endpoint",
    "Given",
    "Kind",
    "Setting",
    "given_in_file",
    "load",
    "shortcuts",
]
