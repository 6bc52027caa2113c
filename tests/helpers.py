"""What several tests use: small networks, small configs, and verdicts made by hand."""

import re
import tomllib

import keras
import numpy as np
import tensorflow as tf

import rsr_tf
from rsr_tf.config import parse_config
from rsr_tf.evaluation import AttackResult, Check, MajorityScore, make_verdict
from rsr_tf.evaluation.scores import wilson_interval

MINIMAL = """
data.name = "digits"
model.name = "small_cnn"
"""


def parse(text="", *overrides):
    """Parse a minimal config with more text after it, and overrides, as if read from `run.toml`."""
    return parse_config(tomllib.loads(MINIMAL + text), overrides, source="run.toml")


def whole_line(message):
    """A pattern that nothing but this message matches: no line before it, none after it."""
    return rf"\A{re.escape(message)}\Z"


TINY = """
[data]
name = "digits"
[model]
name = "small_cnn"
width = 0.125
lasso = 1e-4
[attack]
epsilon = 0.2
step_size = 0.1
steps = 2
[training]
epochs = 3
batch_size = 256
learning_rate = 0.05
deterministic = true
[pruning]
sparsity = 0.6
finetune_epochs = 1
[undefended]
epochs = 1
[evaluation]
epsilon = 0.2
step_size = 0.1
steps = 2
images = 60
draws = 2
batch_size = 50
"""


def tiny_network(noise="channel", lasso=0.0, filters=4):
    inputs = keras.Input((8, 8, 1))
    knobs = {"noise": noise, "kernel_regularizer": keras.regularizers.L1(lasso) if lasso else None}
    x = rsr_tf.NoisyConvBlock(filters, 3, activation="relu", **knobs)(inputs)
    x = rsr_tf.NoisyConv2D(filters, 3, strides=2, activation="relu", bias_initializer="normal", **knobs)(x)
    x = keras.layers.Flatten()(x)
    outputs = rsr_tf.NoisyDense(10, dtype="float32", **knobs)(x)
    model = keras.Model(inputs, outputs)
    block = model.layers[1].normalization
    for variable in (block.gamma, block.beta, block.moving_mean, block.moving_variance):
        variable.assign(np.random.default_rng(2).uniform(0.5, 1.5, variable.shape))
    return model


class Branches(keras.layers.Layer):
    """A user's own layer with a noisy convolution inside, of which its config does not tell."""

    def __init__(self, noise="channel", std=0.0, **kwargs):
        super().__init__(**kwargs)
        self.noisy = rsr_tf.NoisyConv2D(4, 3, padding="same", noise=noise, name="noisy")
        self.pixels = rsr_tf.layers.FeatureNoise(std, name="pixels")
        self.knobs = {"noise": noise, "std": std}

    def build(self, input_shape):
        self.pixels.build(input_shape)
        self.noisy.build(input_shape)

    def call(self, inputs):
        return self.noisy(self.pixels(inputs))

    def get_config(self):
        return {**super().get_config(), **self.knobs}


def enclosing_network(**knobs):
    """A stock network around `Branches`."""
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Flatten()(Branches(name="branches", **knobs)(inputs))
    return keras.Model(inputs, keras.layers.Dense(10, name="logits")(x))


def quantized_network(bits=2, noise="channel", **options):
    """A small residual network whose every activation is quantized, that of the sum and of a nested layer included."""
    activation = rsr_tf.layers.QuantizedReLU(bits, **options)
    inputs = keras.Input((8, 8, 1))
    x = rsr_tf.NoisyConvBlock(4, 3, activation=activation, noise=noise, name="stem")(inputs)
    y = rsr_tf.NoisyConvBlock(4, 3, noise=noise, name="conv")(x)
    x = keras.layers.Activation(activation, name="sum")(keras.layers.Add(name="add")([x, y]))
    x = keras.layers.TimeDistributed(keras.layers.Dense(4, activation=activation), name="rows")(x)
    x = keras.layers.Flatten()(x)
    x = rsr_tf.NoisyDense(6, activation=activation, noise=noise, name="dense")(x)
    return keras.Model(inputs, rsr_tf.NoisyDense(10, dtype="float32", noise=noise, name="logits")(x))


def silence(model):
    """Take the noise out of a network by its scale."""
    for kernel in rsr_tf.layers.prunable_kernels(model).values():
        if kernel.alpha is not None:
            kernel.alpha.assign(tf.zeros_like(kernel.alpha))
    return model


def compiled(model, optimizer="sgd", loss=None, **kwargs):
    model.compile(
        optimizer, loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"], **kwargs
    )
    return model


EPSILON = 8 / 255
HEAD = {"data": "toys", "model": "small_cnn", "scheme": "RSR", "network": "pruned", "sparsity": 0.6}


def trial(name, source, attack, shares, withstood, on, epsilon=EPSILON):
    """Return the result of an attack on ten images, with the given shares of images still correct.

    The shares are with noise on, and with noise off if there are two. A network with 20 predictions is correct on such
    an image in 18 of them, so its mean is nine tenths of its majority.
    """
    predictions = {"noise_on": 20 if len(shares) == 2 else 1, "noise_off": 1}
    scores = {
        target: MajorityScore(
            (np.arange(10) < 10 * share) * (18 if predictions[target] == 20 else 1), predictions[target]
        )
        for target, share in zip(predictions, shares, strict=False)
    }
    return AttackResult(
        name=name,
        source=source,
        parameters={"attack": attack} | ({} if epsilon is None else {"epsilon": epsilon, "steps": 10}),
        index=np.arange(10),
        scores=scores,
        robust_accuracy=dict(zip(scores, withstood, strict=True)),
        distance=np.full(10, epsilon or 0.0, "float32"),
        low=np.zeros(10, "float32"),
        high=np.ones(10, "float32"),
        seconds=2.0,
        subset=on,
        kind=(attack, f"What {attack} does."),
    )


def case(accuracy, mean, predictions):
    intervals = {"interval": wilson_interval(accuracy, 200), "mean_interval": wilson_interval(mean, 200)}
    return {"accuracy": accuracy, "mean": mean, "num_images": 200, "predictions": predictions, **intervals}


def check(name="noise on", passed=True, wanted="at most"):
    return Check(name, passed, 0.25, 0.5, f"What {name} saw.", wanted)


def noisy_verdict(checks=(), noisy=(0.5, 0.45), stripped=0.4, suite="quick", **changes):
    """Return the verdict of a network with noise.

    It has the clean images, two attacks of the checks, one at another epsilon, and one of the claim, also by transfer.
    """
    trials = [
        trial("clean", "noise_on", "NoAttack", (0.9, 0.8), (0.9, 0.8), "all", epsilon=None),
        trial("short PGD", "noise_on", "EOTPGD", (0.6, 0.7), (0.6, 0.7), "checks"),
        trial("PGD, one draw", "rescaled", "EOTPGD", (0.6, 0.7), (0.6, 0.7), "checks"),
        trial("PGD, one draw, epsilon 16/255", "noise_on", "EOTPGD", (0.1, 0.1), (0.6, 0.7), "checks", 2 * EPSILON),
        trial("APGD-CE", "noise_on", "APGD", (1.0, 0.9), (0.5, 0.5), "still_robust"),
        trial("APGD-CE", "noise_off", "APGD", (1.0, 0.8), (0.5, 0.4), "still_robust"),
    ]
    parameters = {
        **{
            "suite": suite,
            "epsilon": EPSILON,
            "norm": "linf",
            "num_images": 200,
            "predictions": 20,
            "seed": 7,
            "batch_size": 50,
        },
        **{"images": [3, 1415], "random": {"noise_on": True, "noise_off": False}},
        **{"noise": {"noise_on": 0.17, "noise_off": 0.0}},
    }
    worst = {"noise_on": case(*noisy, 20), "noise_off": case(stripped, stripped, 1)}
    curve = {0.0: MajorityScore(np.full(10, 18), 20), EPSILON: MajorityScore(np.full(10, 5), 20)}
    return head(make_verdict(trials, checks or [check()], worst, parameters=parameters, curve=curve), **changes)


def plain_verdict(accuracy=0.3, **changes):
    """Return the verdict of a network without noise."""
    trials = [trial("clean", "noise_on", "NoAttack", (0.9,), (0.9,), "all", epsilon=None)]
    trials.append(trial("FGSM", "noise_on", "FGSM", (accuracy,), (accuracy,), "checks"))
    parameters = {
        **{
            "suite": "paper",
            "epsilon": 0.2,
            "norm": "linf",
            "num_images": 200,
            "predictions": 20,
            "seed": 0,
            "batch_size": 50,
        },
        **{"images": [0], "random": {"noise_on": False}, "noise": {"noise_on": 0.0}},
    }
    worst = {"noise_on": case(accuracy, accuracy, 1)}
    curve = {0.0: MajorityScore(np.ones(10), 1), 0.2: MajorityScore(np.zeros(10), 1)}
    return head(make_verdict(trials, [check()], worst, parameters=parameters, curve=curve), **changes)


def head(verdict, **changes):
    return {**HEAD, **changes, "versions": {"keras": "3.15.1"}, **verdict}
