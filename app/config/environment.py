"""The one place that looks at the process's environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

CONFIG_VARIABLE = "CLICKHOUSE_SCIM_CONFIG"
DEFAULT_PATH = Path("clickhouse-scim.toml")


def process_environ() -> Mapping[str, str]:
    """Return the environment of this process, to be handed to `load`."""
    return os.environ
