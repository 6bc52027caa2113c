"""Train the same networks on one device and on several, and print what is equal: the script of `test_devices.py`.

    python devices.py DEVICES FOLDER

TensorFlow divides the CPU into devices before anything else, so this runs in a process of its own. What it measures is
printed as JSON on the last line; FOLDER is for checkpoints.
"""

import json
import sys

import keras
import numpy as np
import tensorflow as tf

import rsr_tf

BATCH, EPOCHS = 64, 4


def strategies(devices):
    """Divide the CPU, and return a strategy for one device and one for all."""
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * devices)
    names = [device.name for device in tf.config.list_logical_devices("CPU")]
    return tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(names)


def network(noise, norm):
    """A network of the size of digits: without normalization, or with a block's and Keras' own."""
    inputs = x = keras.Input((8, 8, 1))
    options = {"noise": noise, "kernel_regularizer": keras.regularizers.L1(1e-4), "activation": "relu"}
    if norm is None:
        x = rsr_tf.layers.NoisyConv2D(8, 3, padding="same", seed=1, **options)(x)
    else:
        x = rsr_tf.NoisyConvBlock(8, 3, seed=1, synchronized=norm == "synchronized", **options)(x)
        x = keras.layers.BatchNormalization(momentum=0.9, synchronized=norm == "synchronized")(x)
    x = rsr_tf.layers.NoisyConv2D(16, 3, strides=2, padding="same", seed=2, **options)(x)
    x = keras.layers.Flatten()(x)
    return keras.Model(inputs, rsr_tf.layers.NoisyDense(10, noise=noise, seed=3)(x))


def compiled(strategy, noise="none", norm=None, **options):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        plain = network(noise, norm)
        attack = rsr_tf.attacks.PGD(epsilon=0.1, step_size=0.05, steps=2, random_start=False)
        model = rsr_tf.RSRModel(plain.inputs, plain.outputs, attack=attack, seed=5, **options)
        optimizer = keras.optimizers.SGD(0.05, momentum=0.9, weight_decay=1e-4)
        model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


def images(count):
    split = rsr_tf.data.load("digits").train.first(count)
    return split.pixels(), split.labels.astype("int32")


def pruner():
    return rsr_tf.PruningCallback(rsr_tf.schedules.PolynomialDecay(0.1, 0.7, 5, 25, frequency=5))


def trained(strategy, count=640, epochs=EPOCHS, callbacks=None, initial_epoch=0, model=None, **options):
    model = model or compiled(strategy, **options)
    x, y = images(count)
    held_out = tuple(values[:65] for values in (x, y))  # its last batch is one image: less than there are devices
    history = model.fit(
        *(x, y),
        batch_size=BATCH,
        epochs=epochs,
        initial_epoch=initial_epoch,
        validation_data=held_out,
        shuffle=False,
        verbose=0,
        callbacks=[pruner()] if callbacks is None else callbacks,
    )
    return model, history.history


def copies(variable):
    """The values of a variable on every device."""
    return [value.numpy() for value in tf.distribute.get_strategy().experimental_local_results(variable.value)]


def on_every_device(strategy, variable):
    with strategy.scope():
        return copies(variable)


def largest(first, second):
    """The largest difference between the weights of two models."""
    pairs = zip(first.weights, second.weights, strict=True)
    return max(float(np.max(np.abs(a.numpy().astype(float) - b.numpy()), initial=0)) for a, b in pairs)


def masks(model):
    return [found.mask.numpy() for found in rsr_tf.layers.prunable_kernels(model).values()]


def compare(one, several, **options):
    """Train on one device and on several; return what differs."""
    (first, before), (second, after) = (trained(strategy, **options) for strategy in (one, several))
    kernels = [found.kernel for found in rsr_tf.layers.prunable_kernels(second).values()]
    return {
        "weights": largest(first, second),
        "metrics": {name: float(np.max(np.abs(np.subtract(before[name], after[name])))) for name in before},
        "masks": all(np.array_equal(a, b) for a, b in zip(masks(first), masks(second), strict=True)),
        "sparsity": rsr_tf.sparsity(second),
        "zeros stay": all(not kernel.numpy()[~mask].any() for kernel, mask in zip(kernels, masks(second), strict=True)),
        "replicas": all(
            np.array_equal(values[0], value)
            for values in (on_every_device(several, variable) for variable in second.variables)
            for value in values
        ),
    }


if __name__ == "__main__":
    import time

    one, several = strategies(int(sys.argv[1]))
    for options in (
        {},
        {"noise": "channel"},
        {"norm": "own"},
        {"norm": "synchronized"},
        {"noise": "channel", "norm": "own"},
        {"count": 600},
    ):
        t = time.time()
        print(options, json.dumps(compare(one, several, **options)), time.time() - t, flush=True)
