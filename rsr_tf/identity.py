"""Tell whether stored work belongs to the current call: differences of settings, hashes of files."""

import hashlib


def first_difference(found, wanted, prefix=""):
    """Return the first difference between two nested dicts in words, or `None` if they are equal.

    Args:
        found, wanted: nested dicts of JSON-serializable values: what is stored, and what is expected.
        prefix: what precedes the key in the message. Defaults to `""`.
    """
    for key in sorted(found.keys() | wanted.keys()):
        old, new = found.get(key), wanted.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            difference = first_difference(old, new, f"{prefix}{key}.")
            if difference:
                return difference
        elif old != new:
            return f"`{prefix}{key}` is {old} there and {new} here"
    return None


def content_hash(path):
    """Return the SHA-256 hash of a file, or of all files of a folder and their names, as a hexadecimal string.

    Args:
        path: `Path` of the file or folder.
    """
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    total = hashlib.sha256()
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        total.update(f"{file.relative_to(path).as_posix()} {file.stat().st_size} ".encode())
        total.update(file.read_bytes())
    return total.hexdigest()
