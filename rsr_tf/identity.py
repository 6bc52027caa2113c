"""Where two dicts of plain values differ, for whoever goes on with what an earlier process left."""


def first_difference(found, wanted, prefix=""):
    """Where two nested dicts of plain values differ first, in words; `None` where they do not."""
    for key in sorted(found.keys() | wanted.keys()):
        old, new = found.get(key), wanted.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            difference = first_difference(old, new, f"{prefix}{key}.")
            if difference:
                return difference
        elif old != new:
            return f"`{prefix}{key}` is {old} there and {new} here"
    return None
