"""The configuration of a run: typed, read from TOML and checked before anything starts."""

from rsr_tf.config.grid import grid_folder, load_grid
from rsr_tf.config.loading import (
    CONFIG_FILE,
    find_config,
    load_config,
    parse_config,
    parse_numbers,
    parse_toml,
    run_folder_of,
)
from rsr_tf.config.schema import Config
from rsr_tf.config.sections import NotNegative, Positive, Share
from rsr_tf.errors import UserError

__all__ = [
    "CONFIG_FILE",
    "Config",
    "NotNegative",
    "Positive",
    "Share",
    "UserError",
    "find_config",
    "grid_folder",
    "load_config",
    "load_grid",
    "parse_config",
    "parse_numbers",
    "parse_toml",
    "run_folder_of",
]
