"""The networks of the paper as Keras functional models."""

from rsr_tf.models.resnet import resnet18, resnet20, small_cnn, vgg16

__all__ = ["resnet18", "resnet20", "small_cnn", "vgg16"]
