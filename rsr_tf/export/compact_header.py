"""The header of a compact archive: what it must hold, and how long the pieces of each variable may be."""

import json
import math
from typing import Annotated, Literal

import tensorflow as tf
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rsr_tf.errors import explain_validation
from rsr_tf.files import is_deeper
from rsr_tf.files.arrays import check_expansion

FORMAT = "rsr_tf compact archive"
VERSION = 1
HEADER, VALUES = "header.json", "values"
"""Members of an archive."""
MAX_HEADER = 16 * 2**20
"""Bytes of the longest header that is read; a network of a thousand layers has about two million."""
Count = Annotated[int, Field(ge=0, lt=2**48)]
Piece = Annotated[tuple[Count, Count], Field(strict=False)]
"""Where a piece of bytes stands in the values: start and length."""


class Variable(BaseModel):
    """One variable: its layer, name and type, and the pieces that encode it."""

    model_config = ConfigDict(strict=True, frozen=True)

    owner: Count | Literal["seeds"]
    name: str
    dtype: str
    shape: list[Count]
    pieces: dict[Literal["bits", "dense", "mask", "values", "signs"], Piece]

    @property
    def numpy_dtype(self):
        """The NumPy dtype; `TypeError` or `ValueError` if it is none of numbers or booleans."""
        dtype = tf.as_dtype(self.dtype)
        if not (dtype.is_floating or dtype.is_integer or dtype.is_bool):
            raise ValueError(f"the variable {self.name} is of {self.dtype}")
        return dtype.as_numpy_dtype

    def check_pieces(self):
        """Raise `ValueError` for pieces that are longer than the array, or a bit mask of another length."""
        size = math.prod(self.shape)
        bits, dense = -(-size // 8), size * tf.as_dtype(self.numpy_dtype).size
        longest = {"bits": bits, "mask": bits, "signs": bits, "values": dense, "dense": dense}
        for kind, (_, length) in self.pieces.items():
            if length > longest[kind] or (kind in ("bits", "mask", "dense") and length != longest[kind]):
                raise ValueError(f"{length} bytes cannot be the {kind} of {size} numbers of {self.dtype}")


class Header(BaseModel):
    """The whole header."""

    model_config = ConfigDict(strict=True, frozen=True)

    format: Literal[FORMAT]
    version: Literal[VERSION]
    checksum: str
    variables: list[Variable]
    network: dict


def read_header(archive):
    """Return the `Header` of an archive, after comparing it with the size of the other member."""
    check_expansion(archive)
    size = archive.getinfo(HEADER).file_size
    if size > MAX_HEADER:
        raise ValueError(f"its header has {size:,} bytes")
    content = json.loads(archive.read(HEADER))
    if is_deeper(content):
        raise ValueError("its header is nested too deep")
    if content["format"] != FORMAT:
        raise ValueError(f"unknown format {content['format']!r}")
    if content["version"] != VERSION:
        raise ValueError(f"format version {content['version']!r} is not supported, only {VERSION}")
    try:
        header = Header.model_validate(content)
    except ValidationError as error:
        raise ValueError(f"its header is of another kind: {explain_validation(error)}") from error
    wanted = max((sum(piece) for entry in header.variables for piece in entry.pieces.values()), default=0)
    if archive.getinfo(VALUES).file_size != wanted:
        raise ValueError(f"its values should have {wanted:,} bytes, but have {archive.getinfo(VALUES).file_size:,}")
    return header
