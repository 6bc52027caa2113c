"""A network of the user, with its weights: noisy, with the lasso, and for the images and classes of a data set."""

from rsr_tf.layers import add_noise, draws_noise
from rsr_tf.layers.conversion import without_weight_noise
from rsr_tf.layers.graphs import with_logits
from rsr_tf.layers.registry import check_functional
from rsr_tf.models.pixels import from_pixels


def own_network(
    network,
    image_shape,
    classes,
    *,
    noise="channel",
    noise_scale=0.25,
    lasso=0.0,
    group_lasso=0.0,
    resize=None,
    rescale=None,
    offset=0.0,
    image_noise=0.0,
):
    """Convert a trained network for training by this package; its weights and masks are kept.

    A softmax at its end is removed. Of a network that is noisy already, such as an `RSRModel`, the noise of the weights
    is replaced: the noise scales begin anew.

    Args:
        network: a built functional or Sequential model with one input and one output `(n, classes)`.
        image_shape: `(h, w, channels)` of the data. Gray images are repeated to three channels if the network takes
            three.
        classes: integer, number of classes of the data.
        noise, noise_scale, lasso, group_lasso: as in `rsr_tf.add_noise`, for every convolution and dense layer.
        resize: `(h, w)` to which images are resized first. Defaults to `None`.
        rescale, offset: numbers: the network gets `rescale * pixels + offset`; by default the pixels in [0,1].
        image_noise: standard deviation of noise on the pixels. Defaults to 0.

    Returns:
        A `keras.Model` from `(n, h, w, channels)` pixels in [0,1] to `(n, classes)` float32 logits.

    Raises:
        ValueError: if the network is subclassed, ends with a sigmoid, or takes other images or returns another number
            of logits.

    Example:
        >>> from rsr_tf.models.own import own_network
        >>> network = own_network(my_keras_model, (8, 8, 1), 10, rescale=255.0, lasso=5e-5)
        >>> [layer.name for layer in network.layers[:2]], type(network.layers[-1]).__name__
        (['pixels', 'rescale'], 'NoisyDense')
    """
    check_functional(network)
    outputs = [tuple(tensor.shape) for tensor in network.outputs]
    if len(network.inputs) != 1 or outputs != [(None, classes)]:
        raise ValueError(
            f"the network must have one input, and one output for each of the {classes} classes of the data. "
            f"Received: {len(network.inputs)} inputs, and outputs of shape {' and '.join(map(str, outputs))}"
        )
    network = with_logits(network)
    if draws_noise(network):
        network = without_weight_noise(network)
    network = from_pixels(network, image_shape, resize=resize, rescale=rescale, offset=offset, image_noise=image_noise)
    return add_noise(network, noise, lasso=lasso, group_lasso=group_lasso, noise_scale=noise_scale)
