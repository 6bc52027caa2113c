"""What a network weighs and costs, for the report: parameters, multiplications, bytes, noise scales."""

import logging
import tempfile
from pathlib import Path

import numpy as np

from rsr_tf.errors import first_line
from rsr_tf.export.benchmark import dense_bytes
from rsr_tf.export.compact import save_compact
from rsr_tf.export.macs import count_macs
from rsr_tf.layers import prunable_kernels
from rsr_tf.layers.conversion import strip

log = logging.getLogger(__name__)


def network_facts(model):
    """Return what a network weighs and costs without its noise, and the mean noise scale of each layer.

    Args:
        model: a Keras model.

    Returns:
        A JSON-serializable dict: `"parameters"`, with biases and normalization; `"macs"` of one image, or `None`, see
        `rsr_tf.export.macs.count_macs`; `"bytes"`, see `sizes`, or `None` if the network fits into no compact archive;
        `"alpha"`, a list of dicts with the `"path"` of a kernel and the `"mean"` of its |alpha| (Eq. 4).
    """
    stripped = strip(model)
    try:
        found = sizes(model)
    except ValueError as error:
        log.debug("no compact archive: %s", first_line(error))
        found = None
    scales = {path: kernel.alpha for path, kernel in prunable_kernels(model).items() if kernel.alpha is not None}
    return {
        "parameters": stripped.count_params(),
        "macs": count_macs(stripped),
        "bytes": found,
        "alpha": [{"path": path, "mean": float(np.mean(np.abs(scale)))} for path, scale in scales.items()],
    }


def sizes(network):
    """Return the bytes of a network without its noise: as dense float32 weights, and as a compact archive.

    Args:
        network: a Keras model.
    """
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "network.rsrz"
        save_compact(strip(network), archive)
        return {"dense_bytes": dense_bytes(network), "compact_bytes": archive.stat().st_size}
