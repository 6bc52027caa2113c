"""The configuration of a run: typed, checked before anything starts, read from TOML."""

from rsr_tf.config.schema import (
    Config,
    NotNegative,
    Share,
    UserError,
    key_table,
    load_config,
    parse_config,
    parse_numbers,
    run_folder_of,
)

__all__ = [
    "Config",
    "NotNegative",
    "Share",
    "UserError",
    "key_table",
    "load_config",
    "parse_config",
    "parse_numbers",
    "run_folder_of",
]
