"""Files: atomic writing, and reading that trusts no size, depth or header.

`rsr_tf.files.arrays` (NumPy) is imported where it is needed; the command and the config do without NumPy.
"""

from rsr_tf.files.reading import MAX_DEPTH, expanded, is_deeper, read_json, read_text
from rsr_tf.files.writing import LOCK_FILE, PARTIAL, FolderLock, InUseError, is_partial, replacing, write_text

__all__ = [
    "LOCK_FILE",
    "MAX_DEPTH",
    "PARTIAL",
    "FolderLock",
    "InUseError",
    "expanded",
    "is_deeper",
    "is_partial",
    "read_json",
    "read_text",
    "replacing",
    "write_text",
]
