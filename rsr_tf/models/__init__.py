"""The networks of the paper as Keras functional models: pixels in [0,1] to float32 logits.

Every convolution and dense layer is noisy and has the lasso. Two arguments select one of the schemes of Table 1: PGD is
`noise="none", lasso=0`, CNI has noise, Lasso has lasso, RSR has both. `noise="layer"` is Parametric Noise Injection
(PNI, He et al. 2019). What other methods change in the layers is a `Scheme`.

To add a network, write a function with the arguments of `resnet20` in a new module, and add it to `MODELS`, and its
name to `rsr_tf.choices`.
"""

from rsr_tf.models.common import CIFAR10_MEAN, CIFAR10_STD
from rsr_tf.models.resnet import resnet18, resnet20
from rsr_tf.models.scheme import Scheme
from rsr_tf.models.small_cnn import small_cnn
from rsr_tf.models.vgg import vgg16
from rsr_tf.models.wide_resnet import wide_resnet

MODELS = {
    "small_cnn": small_cnn,
    "resnet20": resnet20,
    "resnet18": resnet18,
    "vgg16": vgg16,
    "wide_resnet": wide_resnet,
}
"""Name in a config (`model.name`) -> function that builds the network."""

__all__ = [
    "CIFAR10_MEAN",
    "CIFAR10_STD",
    "MODELS",
    "Scheme",
    "resnet18",
    "resnet20",
    "small_cnn",
    "vgg16",
    "wide_resnet",
]
