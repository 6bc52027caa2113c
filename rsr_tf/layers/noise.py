"""Weight noise (Eq. 4) and pruning mask (Eq. 7, 8) as pure functions.

    W~ = mask * (W + alpha * eta),    eta ~ N(0, var(W))

The state, that is `alpha`, `mask` and the source of random numbers, is held by `rsr_tf.layers.noisy_layer.WeightNoise`.
"""

import numpy as np
import tensorflow as tf

from rsr_tf.choices import NOISE_KINDS

SECRET_BYTES = 24
SECRET_BITS = SECRET_BYTES * np.log2(254)
"""Bits from the operating system in one call of an exported network, 191.7."""
KINDS = NOISE_KINDS
"""Granularity of `alpha`: per filter (as in the paper), per layer, per weight (PNI, He et al. 2019), or no noise."""


def alpha_shape(kernel_shape, kind, filter_axes=(-1,)):
    """Return the shape of `alpha` for a kernel.

    Args:
        kernel_shape: tuple of integers, for example `(kh, kw, in, out)` or `(in, out)`.
        kind: string, one of `KINDS`.
        filter_axes: tuple of negative integers: the axes that index the filters. Defaults to `(-1,)`. It is `(-2,)`
            for a transposed kernel `(kh, kw, out, in)`, and `(-2, -1)` for a depthwise one `(kh, kw, in, multiplier)`.

    Returns:
        A tuple that broadcasts against `kernel_shape`, or `None` for `"none"`.

    Raises:
        ValueError: if `kind` is unknown.

    Example:
        >>> rsr_tf.noise.alpha_shape((3, 3, 8, 16), "channel")
        (16,)
    """
    check_kind(kind)
    axes = range(min(filter_axes), 0)
    return {
        "channel": tuple(kernel_shape[axis] if axis in filter_axes else 1 for axis in axes),
        "layer": (),
        "element": tuple(kernel_shape),
        "none": None,
    }[kind]


def check_kind(kind, *, name="noise"):
    """Raise `ValueError` unless `kind` is one of `KINDS`; `name` is the argument's name in the message."""
    if kind not in KINDS:
        raise ValueError(f"`{name}` must be one of {KINDS}. Received: {name}={kind!r}")


def noise_std(kernel, alpha):
    """Compute the standard deviation of `alpha * eta` in Eq. 4, with the sign of `alpha`.

    The variance is that of the whole current kernel; no gradient flows through it.

    Args:
        kernel: float tensor of any shape.
        alpha: trainable noise scale that broadcasts against `kernel`. In the paper its shape is `(filters,)`.

    Returns:
        A tensor of the shape of `alpha`.

    Example:
        >>> rsr_tf.noise.noise_std(tf.constant([[1.0, 3.0]]), tf.constant([0.25, 0.5])).numpy()
        array([0.25, 0.5 ], dtype=float32)
    """
    return alpha * tf.stop_gradient(tf.math.reduce_std(kernel))


def kernel_std(kernel):
    """Return the standard deviation of a kernel, `sqrt(var(W))` in Eq. 4, computed with NumPy.

    For code that changes kernels outside of a graph; the layers compute the same number in TensorFlow.

    Args:
        kernel: float variable, tensor or array of any shape.

    Returns:
        A NumPy scalar of the kernel's dtype, of a bfloat16 kernel float32.
    """
    value = np.asarray(kernel)
    return np.std(value.astype("float32") if value.dtype.name == "bfloat16" else value)  # NumPy would sum in bfloat16


def noisy_kernel(kernel, std, mask, standard_normal):
    """Apply noise (Eq. 4) and mask (Eq. 7, 8) to a kernel.

    Args:
        kernel: float tensor `(..., filters)`.
        std: result of `noise_std`.
        mask: boolean tensor of the kernel's shape; `False` marks a pruned weight.
        standard_normal: tensor of the kernel's shape, drawn from N(0, 1).

    Returns:
        A tensor of the kernel's shape: exactly zero, with no gradient, where `mask` is `False`.
    """
    return masked_kernel(kernel + std * tf.cast(standard_normal, kernel.dtype), mask)


def in_single_precision(variable):
    """Return a variable as a tensor in float32 if it is in half precision, else in its own dtype."""
    value = tf.convert_to_tensor(variable)
    return tf.cast(value, tf.float32) if value.dtype in (tf.float16, tf.bfloat16) else value


def masked_kernel(kernel, mask):
    """Set the pruned weights of a kernel to exactly zero (Eq. 7, 8)."""
    return tf.where(mask, kernel, tf.zeros((), kernel.dtype))


def unseeded_normal(shape):
    """Draw standard normal numbers that nobody can foresee, for exported networks.

    Every call of the traced function reads 24 bytes with `SECRET_BITS` bits from the operating system, and draws all
    noise of this call with them. Nothing is kept between two calls, so noise that was seen says nothing about noise to
    come. No seed of the program or of TensorFlow has a part in it.

    The numbers of one call come from Philox, a good generator but no cipher: with some 2^64 trials, who sees some of
    them can find the others of the same call, which is over by then.

    Args:
        shape: tuple of static dimensions or, if some are known only when the graph runs, an int32 tensor.

    Returns:
        A float32 tensor of that shape.

    Raises:
        tf.errors.NotFoundError: when run, on a system without `/dev/urandom`, such as Windows.
    """
    secret, number = _secret_of_this_call()
    counter = secret[1:] + tf.constant([0, number], tf.uint64)  # far enough apart for any kernel or batch of images
    philox = tf.random.Algorithm.PHILOX.value
    return tf.raw_ops.StatelessRandomNormalV2(shape=_as_argument(shape), key=secret[:1], counter=counter, alg=philox)


def tflite_normal(shape):
    """Draw standard normal numbers with the one operation that TFLite can run; who sees two can find all others.

    With both seeds zero, the operation seeds itself from the operating system, regardless of any seed at the time of
    export, but with 32 bits for the whole process. All later numbers follow from them.

    Args:
        shape: tuple of static dimensions or, if some are known only when the graph runs, an int32 tensor.

    Returns:
        A float32 tensor of that shape.
    """
    return tf.raw_ops.RandomStandardNormal(shape=_as_argument(shape), dtype=tf.float32, seed=0, seed2=0)


def _as_argument(shape):
    return shape if tf.is_tensor(shape) else list(shape)


def _secret_of_this_call():
    """Return the secret of the current call, and how many draws of the call have used it.

    A graph reads it once, as reading takes longer than drawing. The branches and loops in it are graphs themselves.
    """
    if tf.executing_eagerly():
        return _words_of_operating_system(), 0
    graph = tf.compat.v1.get_default_graph()
    draws = graph.get_collection_ref("rsr_tf_secrets_of_draws")  # begins as a copy of the outer graph's
    own = [secret for secret in draws if secret.graph is graph]
    secret = own[0] if own else _words_of_operating_system()
    draws.append(secret)
    return secret, len(own)


def _words_of_operating_system():
    """Return three uint64 words from `/dev/urandom`, read anew whenever the graph runs.

    All operations that TensorFlow seeds by itself share one seed of 32 bits per process, so the words come from a file.
    `tf.io.read_file` does not end there, and being stateless it is computed only once when the graph is optimized. A
    dataset of lines has neither fault. A line is without the bytes 10 and 13, which costs 0.011 bits per byte.
    """
    lines = tf.data.TextLineDataset("/dev/urandom", buffer_size=1024)
    line = lines.filter(lambda line: tf.strings.length(line) >= SECRET_BYTES).take(1).get_single_element()
    return tf.bitcast(tf.io.decode_raw(tf.strings.substr(line, 0, SECRET_BYTES), tf.int64), tf.uint64)
