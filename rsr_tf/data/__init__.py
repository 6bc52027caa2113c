"""Named data sets as arrays, and arrays as `tf.data` pipelines."""

from rsr_tf.data.base import (
    DataSet,
    Split,
    as_pixels,
    batches,
    channel_statistics,
    load,
    steps_per_epoch,
    training_batches,
)

__all__ = [
    "DataSet",
    "Split",
    "as_pixels",
    "batches",
    "channel_statistics",
    "load",
    "steps_per_epoch",
    "training_batches",
]
