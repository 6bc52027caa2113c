"""What the section `model` says of the network: its name or file, and which keys go with which networks."""

import difflib
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from rsr_tf import choices
from rsr_tf.config.sections import Number, Section

KERAS = "keras:"
"""Prefix of `model.name` for a network of `keras.applications`."""
USUAL_SIZES = {"wide_resnet": {"depth": 28, "width": 10.0}}
"""Defaults of a network that differ from those of the section."""
OTHERS_KEYS = {
    "built-in": ("weights", "rescale", "offset"),
    "keras": ("width", "activation_bits", "orthogonality", "feature_noise"),
    "file": ("width", "activation_bits", "orthogonality", "feature_noise", "weights"),
}
"""Kind of network -> keys that it does not use."""


def known_name(name):
    """Return a name of `model.name`; raise `ValueError` for one that cannot be a network."""
    if name in choices.MODELS or (name or "").removeprefix(KERAS) not in (name, ""):
        return name
    close = difflib.get_close_matches(str(name), choices.MODELS, n=1)
    known = ", ".join(map(repr, choices.MODELS))
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    raise ValueError(f"should be {known} or 'keras:NAME', such as 'keras:MobileNetV3Small'{hint}")


class Network(Section):
    """Which network: the keys of the section `model` that are about no regularization."""

    name: Annotated[str, AfterValidator(known_name)] | None = Field(
        None, description=f"{', '.join(choices.MODELS)}, or keras:NAME for a network of `keras.applications`"
    )
    file: str | None = Field(None, description="in place of a name: a .keras file, whose weights are kept")
    weights: str | None = Field(
        None, description="keras:NAME: a .weights.h5 or .keras file of it, or imagenet, which Keras downloads"
    )
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = Field(
        None, description="hash of the file of weights; a run notes it, and then takes no other"
    )
    resize: Annotated[list[Annotated[int, Field(ge=1, le=4096)]], Field(min_length=2, max_length=2)] | None = Field(
        None, description="height and width that images get inside the network"
    )
    rescale: Number | None = Field(
        None, description="keras:NAME, file: it gets rescale * pixels + offset, pixels in [0, 1] [what Keras expects]"
    )
    offset: Number = Field(0.0, description="see rescale")
    width: Annotated[Number, Field(gt=0, le=16)] = Field(
        1.0, description="factor on the number of filters (Table 2); wide_resnet: its widening factor [10]"
    )
    depth: Annotated[int, Field(ge=10, le=1000)] | None = Field(
        None, description="wide_resnet: number of layers, 6n + 4 [28]"
    )

    @property
    def title(self):
        """Name of the network in tables and messages: `name`, or the name of the file."""
        return self.name or Path(self.file).name

    @property
    def kind(self):
        """One of the keys of `OTHERS_KEYS`."""
        return "file" if self.file else "keras" if self.name.startswith(KERAS) else "built-in"

    @property
    def file_of_weights(self):
        """Path of the file whose weights the network starts with, as it is in the config; `None` for none."""
        return self.file or (self.weights if self.weights != "imagenet" else None)

    @model_validator(mode="before")
    @classmethod
    def _usual_size(cls, values):
        name = values.get("name") if isinstance(values, dict) else None
        return {**USUAL_SIZES[name], **values} if isinstance(name, str) and name in USUAL_SIZES else values

    @model_validator(mode="after")
    def _one_network(self):
        if (self.name is None) == (self.file is None):
            raise ValueError(f"give exactly one of name ({self.name}) and file ({self.file})")
        if self.file is not None and not self.file.endswith(".keras"):
            raise ValueError(f"file must be a .keras file. Received: {self.file}")
        if self.offset and self.rescale is None:
            raise ValueError(f"offset ({self.offset:g}) goes with rescale: rescale * pixels + offset")
        if self.sha256 is not None and not self.file_of_weights:
            raise ValueError(f"sha256 goes with file, or weights in a file. Received: {self.sha256}")
        return self

    @model_validator(mode="after")
    def _keys_of_this_network(self):
        others = OTHERS_KEYS[self.kind] if self.name == "wide_resnet" else (*OTHERS_KEYS[self.kind], "depth")
        for key in others:
            value = getattr(self, key)
            if value != type(self).model_fields[key].default:
                raise ValueError(f"{self.title} does not use {key} ({value})")
        if self.depth is not None and self.depth % 6 != 4:
            raise ValueError(f"depth must be 6n + 4, such as 16, 28 or 34. Received: {self.depth}")
        return self
