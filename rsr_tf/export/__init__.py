"""Export of networks as files: SavedModel, compact archive and TFLite; `benchmark` measures them."""

from rsr_tf.export.compact import load_compact, save_compact
from rsr_tf.export.saved_model import export_saved_model, read_metadata
from rsr_tf.export.tflite import TFLiteNetwork, export_tflite

__all__ = [
    "TFLiteNetwork",
    "export_saved_model",
    "export_tflite",
    "load_compact",
    "read_metadata",
    "save_compact",
]
