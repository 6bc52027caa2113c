"""What every section of a config is made of: numbers with their ranges, and the base class of the sections."""

import contextlib
import math
from fractions import Fraction
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

LONGEST_NUMBER = 100
"""Characters of a number or fraction in quotes."""
LARGEST_COUNT = 1_000_000
"""Of epochs, steps, images, ...: far beyond any use, and far below what the int32 of a graph holds."""


def _number(value):
    """Convert a fraction such as "8/255" to a number; leave other values to pydantic."""
    if not isinstance(value, str):
        return value
    if len(value) <= LONGEST_NUMBER:
        for convert in (float, Fraction):  # in this order: `Fraction("1e999999999")` writes out all its digits
            with contextlib.suppress(ValueError, ZeroDivisionError, OverflowError):
                number = float(convert(value))
                if math.isfinite(number):
                    return number
                break
    raise ValueError('expected a number or a fraction such as "8/255"')


Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
PixelDistance = Annotated[Number, Field(gt=0, le=1)]
Share = Annotated[Number, Field(ge=0, le=1)]
ShareHeldOut = Annotated[Number, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=0, le=LARGEST_COUNT)]
PositiveCount = Annotated[int, Field(ge=1, le=LARGEST_COUNT)]


class Section(BaseModel):
    """A section of the config: unknown keys are errors, values are not converted and cannot change."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
