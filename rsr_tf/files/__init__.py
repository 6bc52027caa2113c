"""Files: atomic writing, and reading that trusts no size, depth or header.

`rsr_tf.files.arrays` (NumPy) is imported where it is needed; the command and the config do without NumPy.
"""

from rsr_tf.files.locks import LOCK_FILE, FolderLock, InUseError, step_lock, work_through
from rsr_tf.files.reading import MAX_DEPTH, expanded, is_deeper, is_utf8, read_json, read_text
from rsr_tf.files.writing import PARTIAL, is_partial, replacing, write_text

__all__ = [
    "LOCK_FILE",
    "MAX_DEPTH",
    "PARTIAL",
    "FolderLock",
    "InUseError",
    "expanded",
    "is_deeper",
    "is_partial",
    "is_utf8",
    "read_json",
    "read_text",
    "replacing",
    "step_lock",
    "work_through",
    "write_text",
]
