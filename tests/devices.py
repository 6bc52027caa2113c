"""Train the same networks on one device and on several, and print what is equal: the script of `test_devices.py`.

    python devices.py DEVICES FOLDER [quick]

TensorFlow divides the CPU into devices before anything else, so this runs in a process of its own. What it measures is
printed as lines of JSON; FOLDER is for checkpoints. `quick` leaves out the networks without noise.
"""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from helpers import parse

import rsr_tf
from rsr_tf.experiment import Experiment
from rsr_tf.training.callbacks import Checkpoint
from rsr_tf.training.distribution import choose_strategy

BATCH, EPOCHS = 64, 4


def strategies(devices):
    """Divide the CPU, and return a strategy for one device and one for all."""
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * devices)
    return choose_strategy("one"), choose_strategy("all")


def network(noise, norm):
    """A network of the size of digits, without normalization, or with a block's and Keras' own.

    It is smooth, and attacked in l2: a kink or a sign turns a difference of rounding into one of a whole step.
    """
    inputs = x = keras.Input((8, 8, 1))
    options = {"noise": noise, "kernel_regularizer": keras.regularizers.L1(1e-4), "activation": "silu"}
    if norm is None:
        x = rsr_tf.layers.NoisyConv2D(8, 3, padding="same", seed=1, **options)(x)
    else:
        x = rsr_tf.NoisyConvBlock(8, 3, seed=1, synchronized=norm == "synchronized", **options)(x)
        x = keras.layers.BatchNormalization(momentum=0.9, synchronized=norm == "synchronized")(x)
    x = rsr_tf.layers.NoisyConv2D(16, 3, strides=2, padding="same", seed=2, **options)(x)
    x = keras.layers.Dense(16, activation="silu")(keras.layers.Flatten()(x))  # gets its mask in `fit`
    return keras.Model(inputs, rsr_tf.layers.NoisyDense(10, noise=noise, seed=3)(x))


def compiled(strategy, noise="none", norm=None, **options):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        plain = network(noise, norm)
        attack = rsr_tf.attacks.PGD(epsilon=1.0, step_size=0.5, steps=2, random_start=False, norm="l2")
        model = rsr_tf.RSRModel(plain.inputs, plain.outputs, attack=attack, seed=5, **options)
        optimizer = keras.optimizers.SGD(0.05, momentum=0.9, weight_decay=1e-4)
        model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


def images(count):
    split = rsr_tf.data.load("digits").train.first(count)
    return split.pixels(), split.labels.astype("int32")


def pruner():
    return rsr_tf.PruningCallback(rsr_tf.schedules.PolynomialDecay(0.1, 0.7, 5, 25, frequency=5))


def trained(strategy, count=600, epochs=EPOCHS, callbacks=None, initial_epoch=0, model=None, **options):
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


def copies(strategy, variable):
    """The values of a variable on every device."""
    with strategy.scope():
        values = [value.numpy() for value in strategy.experimental_local_results(variable.value)]
    assert len(values) == strategy.num_replicas_in_sync
    return values


def largest(first, second, kinds=("float32", "int64", "bool")):
    """The largest difference between the weights of two models."""
    pairs = [pair for pair in zip(first.weights, second.weights, strict=True) if pair[0].dtype in kinds]
    return max(float(np.max(np.abs(a.numpy().astype(float) - b.numpy()), initial=0)) for a, b in pairs)


def masks(model):
    return [found.mask.numpy() for found in rsr_tf.layers.prunable_kernels(model).values()]


def zeros_stay(model):
    kernels = [found.kernel.numpy() for found in rsr_tf.layers.prunable_kernels(model).values()]
    return all(not kernel[~mask].any() for kernel, mask in zip(kernels, masks(model), strict=True))


def replicas_are_equal(strategy, model):
    everywhere = [copies(strategy, variable) for variable in model.variables]
    return all(np.array_equal(values[0], value) for values in everywhere for value in values)


def compare(alone, several, **options):
    """Train on several devices; return what differs from the model and history of one, and the model."""
    (first, before), (second, after) = alone, trained(several, **options)
    return {
        "weights": largest(first, second, ("float32",)),
        "metrics": {name: float(np.max(np.abs(np.subtract(before[name], after[name])))) for name in before},
        "masks": all(np.array_equal(a, b) for a, b in zip(masks(first), masks(second), strict=True)),
        "sparsity": rsr_tf.sparsity(second),
        "zeros stay": zeros_stay(second),
        "replicas": replicas_are_equal(several, second),
    }, second


def starts(strategy):
    """The random starts of blank images, and a kernel with noise, on every device."""
    model = compiled(strategy, noise="channel")
    model.set_attack(rsr_tf.attacks.PGD(epsilon=0.1, step_size=1e-6, steps=1))
    layer = rsr_tf.layers.noisy_layers(model)[0]

    @tf.function
    def draw():
        blank = tf.fill((4, 8, 8, 1), 0.5)
        return strategy.run(lambda: (model.perturb(blank, tf.zeros(4, tf.int32)), layer.sample_kernel()))

    images, kernels = (np.stack(strategy.experimental_local_results(each)) for each in draw())
    apart = np.std(images[1:] - images[:1], axis=(1, 2, 3, 4))
    return {"starts": float(apart.min()), "kernels": float(np.ptp(kernels, axis=0).max())}


def resumed(strategy, unbroken, folder):
    """Stop after two epochs; go on in a new model; return the difference to a training that was not stopped."""
    options = {"noise": "channel", "norm": "own"}
    trained(strategy, epochs=2, callbacks=[pruner(), Checkpoint(folder, "train")], **options)
    model, callback = compiled(strategy, **options), pruner()
    callback.set_model(model)  # its masks are in the checkpoint
    epoch = Checkpoint(folder, "train").restore(model)
    model, _ = trained(strategy, model=model, initial_epoch=epoch, callbacks=[callback])
    return {"epochs": epoch, "weights": largest(unbroken, model)}


def loaded(model, folder):
    """Save a model, load it on one device, and return the difference."""
    model.save(folder / "model.keras")
    return {"weights": largest(model, keras.models.load_model(folder / "model.keras"))}


def experiment(folder):
    """Train and prune by the command's own stages; return what the files hold."""
    config = parse("", *settings())
    with Experiment(config, folder / "run") as run:
        run.train()
        run.prune()
        replicas = run.strategy.num_replicas_in_sync
        model = keras.models.load_model(run.folder.pruned)
    return {"replicas": replicas, "sparsity": rsr_tf.sparsity(model), "zeros stay": zeros_stay(model)}


def settings():
    return [
        *("model.width=0.125", "attack.steps=1", "training.epochs=2", "training.batch_size=256"),
        *('training.devices="all"', "pruning.finetune_epochs=1", "pruning.filters=0.25", "undefended.epochs=0"),
    ]


def main(devices, folder, noises=("none", "channel")):
    one, several = strategies(devices)
    for noise in noises:
        report(noise, compare(trained(one, noise=noise), several, noise=noise)[0])
    alone = trained(one, noise="channel", norm="own")  # on one device, there is nothing to synchronize
    measured, model = compare(alone, several, noise="channel", norm="own")
    report("per replica", measured)
    report("random", starts(several))
    if devices == 2:
        report("synchronized", compare(alone, several, noise="channel", norm="synchronized")[0])
        report("resumed", resumed(several, model, folder))
        report("loaded", loaded(model, folder))
        report("run", experiment(folder))


def report(name, measured):
    print(json.dumps({"name": name, **measured}), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), *([("channel",)] if "quick" in sys.argv[3:] else []))
