"""The header of a compact archive: what it must hold, and how long the pieces of each variable may be."""

import math
from typing import Annotated, Literal

import tensorflow as tf
from pydantic import BaseModel, ConfigDict, Field

FORMAT = "rsr_tf compact archive"
VERSION = 1
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
