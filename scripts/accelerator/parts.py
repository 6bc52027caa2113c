"""A trained state in files that are small enough to travel. Needs NumPy alone.

    python scripts/accelerator/parts.py split FOLDER OUTPUT PARTS [--momenta 16|none] [--megabytes 15]
    python scripts/accelerator/parts.py join FOLDER PARTS OUTPUT

FOLDER is what `lower.py` wrote, OUTPUT what `run.py train` wrote. `split` writes the last saved state, `history.csv`
and `progress.json` into PARTS. `join` restores OUTPUT from PARTS; `run.py train` continues it, `load.py` loads it.
Momenta, half of the state, are stored in 16 bits (bfloat16) or left out; without them training continues from zero
momenta, as in its first step.
"""

import argparse
import io
import json
import shutil
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from accelerator.artifact import Artifact, read_state, write_state

COPIED = ("history.csv", "progress.json")
MOMENTUM = "_momentum"
"""How the names of the momenta of Keras' optimizers end."""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    splitting, joining = commands.add_parser("split"), commands.add_parser("join")
    for command, first, second in ((splitting, "output", "parts"), (joining, "parts", "output")):
        for name in ("folder", first, second):
            command.add_argument(name, type=Path)
    splitting.add_argument("--momenta", choices=("16", "none"), default="16")
    splitting.add_argument("--megabytes", type=float, default=15, help="largest size of a file")
    options = parser.parse_args()
    entries = Artifact.read(options.folder).entries
    if options.command == "split":
        split(entries, options.output, options.parts, options.momenta == "16", int(options.megabytes * 2**20))
    else:
        join(entries, options.parts, options.output)


def split(entries, output, parts, with_momenta, size):
    """Write the last state of a training as files `state.000`, `state.001`, ...

    Args:
        entries: those of the `Artifact`.
        output, parts: paths of the folders.
        with_momenta: whether momenta are written, in 16 bits.
        size: largest size of a file, in bytes.
    """
    parts.mkdir(parents=True, exist_ok=True)
    values = read_state(_state(output), entries)
    for number, (name, *_) in enumerate(entries):
        if name.endswith(MOMENTUM):
            values[number] = to_bfloat16(values[number]) if with_momenta else None
    content = io.BytesIO()
    write_state(content, values)
    content = content.getbuffer()
    for number, start in enumerate(range(0, len(content), size)):
        (parts / f"state.{number:03d}").write_bytes(content[start : start + size])
    for name in COPIED:
        shutil.copy(output / name, parts / name)


def join(entries, parts, output):
    """Write the state that `split` took apart.

    Args:
        entries, parts, output: as for `split`.
    """
    output.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO(b"".join(path.read_bytes() for path in sorted(parts.glob("state.*"))))
    with np.load(content, allow_pickle=False) as stored:
        values = [_joined(stored, number, *entry) for number, entry in enumerate(entries)]
    for name in COPIED:
        shutil.copy(parts / name, output / name)
    write_state(_state(output), values)


def _joined(stored, number, name, shape, dtype):
    if str(number) not in stored.files:
        return np.zeros(shape, dtype)
    value = stored[str(number)]
    return from_bfloat16(value) if name.endswith(MOMENTUM) else value


def _state(output):
    epochs = json.loads((output / "progress.json").read_text())["epochs"]
    return output / f"state-{epochs:04d}.npz"


def to_bfloat16(values):
    """Return float32 numbers as the bits of the nearest bfloat16, uint16; ties go to the even one."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def from_bfloat16(bits):
    """Return bits of bfloat16 as float32 numbers."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


if __name__ == "__main__":
    main()
