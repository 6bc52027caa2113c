"""The same bits in every run."""

import tensorflow as tf


def enable_determinism():
    """Make TensorFlow compute the same bits in every process on the same machine, from now on.

    `tf.config.experimental.enable_op_determinism` does so for single operations. But where TensorFlow takes the tensors
    of a graph for too many for the memory, its optimizer Grappler replaces sums of three or more of them, such as
    gradients, by additions in the order in which they are ready, and the last bits depend on the timing; seen from
    batches of 64 images of 256x256 pixels. So all of Grappler is switched off: its optimization of the
    memory cannot be switched off alone.

    Example:
        >>> from rsr_tf.training.determinism import enable_determinism
        >>> enable_determinism()
        >>> tf.config.optimizer.get_experimental_options()["disable_meta_optimizer"]
        True
    """
    tf.config.experimental.enable_op_determinism()
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
