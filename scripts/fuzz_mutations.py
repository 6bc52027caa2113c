"""Ways to damage bytes, lines and JSON, drawn from a NumPy generator."""

import copy
import json

TOKENS = (
    *(
        b"[" * 3000,
        b"]",
        b"{",
        b"}",
        b'"',
        b"'",
        b"\0",
        b"\xff",
        b"\n",
        b"\r",
        b",",
        b"=",
        b"#",
        b"$",
        b"\\ud800",
        b"\\",
    ),
    *(b"9" * 5000, b"1e999999999", b"-1", b"nan", b"inf", b"NaN", b"0x" + b"f" * 5000, b"true", b"null", b"1/0"),
)
WORDS = (
    *("", " ", "x", "x" * 5000, "1e999999999", "1e-999999999", "8/255", "1/0", "9" * 5000, "nan", "-inf", "true", "[]"),
    *("{}", "[[[[", "[" * 3000, "'''", '"""', "{a=1}", "1\nseed=2", "~nosuchuser123/x", "/dev/zero", "2147483648"),
    *("9223372036854775808", "1e308", "-0.0", "0", "1.5", "'x'", "\ud800", "\x00", "a\tb", "<script>", "$\\foo$"),
)
VALUES = (
    *(None, True, False, 0, -1, 1, 1.5, -0.5, 1e308, 1e-320, 10**30, 2**63, float("nan"), float("inf"), "", "x"),
    *("<script>", "\ud800", "x" * 5000, "1e999999999", [], {}, [[]], [1, 2], {"a": {}}, [None] * 50, {"x": [1]}),
)


def damaged_bytes(random, content):
    """Return bytes with a few bits, bytes or pieces changed."""
    content = bytearray(content)
    for _ in range(random.integers(1, 5)):
        place = int(random.integers(len(content) + 1))
        length = int(random.integers(1, 40))
        kind = random.integers(5)
        if kind == 0 and place < len(content):
            content[place] ^= 1 << random.integers(8)
        elif kind == 1:
            content[place:place] = TOKENS[random.integers(len(TOKENS))]
        elif kind == 2:
            del content[place : place + length]
        elif kind == 3:
            content[place:place] = content[place : place + length]
        else:
            content[place : place + length] = random.bytes(length)
    return bytes(content[: random.integers(len(content) + 1)] if random.random() < 0.1 else content)


def odd_text(random):
    """Return a value as text that some type may not expect."""
    return WORDS[random.integers(len(WORDS))]


def damaged_lines(random, content):
    """Return text with lines dropped, repeated, or with other values; the values end at commas or the line."""
    lines = content.decode().splitlines()
    for _ in range(random.integers(1, 4)):
        number = int(random.integers(len(lines)))
        kind = random.integers(4)
        if kind == 0:
            del lines[number]
        elif kind == 1:
            lines.insert(int(random.integers(len(lines) + 1)), lines[number])
        else:
            separator = "," if "," in lines[number] and "=" not in lines[number] else "="
            parts = lines[number].split(separator)
            parts[random.integers(len(parts))] = odd_text(random)
            lines[number] = separator.join(parts)
        lines = lines or [""]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def places(value, prefix=()):
    """Return the paths of all entries of nested lists and dicts."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for key, entry in entries for path in [(*prefix, key), *places(entry, (*prefix, key))]]


def damaged_json(random, content):
    """Return JSON with entries replaced, removed, renamed or repeated."""
    value = json.loads(content)
    for _ in range(random.integers(1, 3)):
        found = places(value)
        if not found:
            break
        depth = min(len(path) for path in found) + int(random.integers(6))
        found = [path for path in found if len(path) <= depth]
        *parents, last = found[random.integers(len(found))]
        place = value
        for key in parents:
            place = place[key]
        kind = random.integers(6)
        if kind == 0:
            del place[last]
        elif kind == 1 and isinstance(place, dict):
            place[odd_text(random)] = place.pop(last)
        elif kind == 2 and isinstance(place, list):
            place.insert(last, place[last])
        else:
            place[last] = copy.deepcopy(VALUES[random.integers(len(VALUES))])
    if random.random() < 0.02:
        value = VALUES[random.integers(len(VALUES))]
    return json.dumps(value).encode()
