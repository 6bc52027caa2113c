"""The `rsr` command: options only, no logic. TensorFlow and NumPy are imported only when a command needs them."""

from rsr_tf.cli import settings, stages, tables
from rsr_tf.cli.group import main

__all__ = ["main", "settings", "stages", "tables"]
