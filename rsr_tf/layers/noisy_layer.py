"""The mixin of all noisy and prunable layers: masks, noise scales and seed, and how they are saved."""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from rsr_tf.keras_internals import forget_seed_generator, unlocked
from rsr_tf.layers.noise import (
    alpha_shape,
    check_kind,
    in_single_precision,
    masked_kernel,
    noise_std,
    noisy_kernel,
    tflite_normal,
    unseeded_normal,
)

FRESH, TFLITE = "fresh", "tflite"
UNSEEDED = {FRESH: unseeded_normal, TFLITE: tflite_normal}
"""Values of `seed` for noise from the operating system, which cannot be reproduced; for export, not for training."""


def seed_generator(seed, kind=keras.random.SeedGenerator):
    """Return the `keras.random.SeedGenerator` of a layer's noise, or `None` for a seed in `UNSEEDED`.

    Args:
        seed: the argument `seed` of the layer.
        kind: class of the generator. Defaults to `keras.random.SeedGenerator`.
    """
    return None if seed in UNSEEDED else kind(seed)


def standard_normal(shape, seed, generator):
    """Draw standard normal numbers from the generator of a layer or, without one, from the operating system.

    Args:
        shape: tuple of static dimensions, or an int32 tensor.
        seed: the argument `seed` of the layer.
        generator: result of `seed_generator(seed)`.

    Returns:
        A float32 tensor of that shape.
    """
    if generator is None:
        return UNSEEDED[seed](shape)
    return keras.random.normal(shape, dtype="float32", seed=generator)


def draw_from_system(layer, source):
    """Let a noisy layer draw from the operating system from now on, whatever its seed was.

    Args:
        layer: a `WeightNoise` or `FeatureNoise`.
        source: a key of `UNSEEDED`.
    """
    forget_seed_generator(layer, layer.seed_generator)
    layer.seed, layer.seed_generator = source, None


class KernelRole(NamedTuple):
    """Description of one kernel of a layer.

    Args:
        name: string, the attribute of the layer that holds the kernel. Anything before `kernel` is a prefix that the
            kernel's mask, threshold and alpha share. Defaults to `"kernel"`.
        filter_axes: tuple of negative integers, the axes of the kernel that index filters. Defaults to `(-1,)`.
        regularizer: string, key of the kernel's regularizer in the layer's config. Defaults to
            `"kernel_regularizer"`.
    """

    name: str = "kernel"
    filter_axes: tuple = (-1,)
    regularizer: str = "kernel_regularizer"

    def attribute(self, name):
        """Return the attribute of the layer for something of this kernel, such as `mask` or `depthwise_mask`."""
        return self.name.removesuffix("kernel") + name


class WeightNoise:
    """Mixin that adds weight noise (Eq. 4) and a pruning mask to a Keras layer with kernels.

    It comes before the Keras layer in the list of base classes. Noise and mask are computed in float32, whatever the
    compute dtype of the layer, or in float64 if the variables are. Pruned weights of the kernel are reset to zero after
    every optimizer update. In addition to the variables of the Keras layer it has

        alpha          noise scale, trainable; `None` without noise
        mask           bool, `False` marks a pruned weight
        threshold      gamma of the last pruning, float32; 0 before
        pruning_step   optimizer iterations at the last pruning, int64; -1 before

    where `mask`, `threshold`, `pruning_step` and the list `pruning_vars` have the names that they have in the pruning
    wrapper of TensorFlow's Model Optimization Toolkit. A layer with two kernels has `depthwise_mask`, `pointwise_mask`
    and so on, and deliberately no `mask`, which could be mistaken for the mask of the whole layer.

    Args:
        noise: granularity of `alpha`, one of `rsr_tf.layers.noise.KINDS`. Defaults to `"channel"`, as in the paper.
        noise_scale: non-negative number, initial value of `alpha`. Defaults to 0.25.
        seed: integer, `None` for a random seed per layer, or `"fresh"` for noise that nobody can foresee or
            repeat. Defaults to `None`.

    Raises:
        ValueError: if `noise` is unknown or `noise_scale` is negative.
    """

    kernel_roles = (KernelRole(),)

    def __init__(self, *args, noise="channel", noise_scale=0.25, seed=None, **kwargs):
        super().__init__(*args, **kwargs)
        self._set_noise(noise, noise_scale, seed)

    @classmethod
    def adopt(cls, layer):
        """Convert a built stock layer to this class, in place and without noise; its variables stay the same objects.

        Variables are added as Keras does in `enable_lora`. The class has to change too: saving stores the class, and
        only a mask in the forward pass stops the gradient of a pruned weight.

        Args:
            layer: a built layer of the Keras class that this class extends.
        """
        layer.__class__ = cls
        with unlocked(layer):
            layer._set_noise("none", noise_scale=0.25, seed=None)
            layer._add_masks_and_noise()

    def build(self, input_shape):
        super().build(input_shape)
        self._add_masks_and_noise()

    def _set_noise(self, noise, noise_scale, seed):
        check_kind(noise)
        if not noise_scale >= 0:
            raise ValueError(f"`noise_scale` must not be negative. Received: noise_scale={noise_scale}")
        self.noise = noise
        self.noise_scale = float(noise_scale)
        self.seed = seed
        self.seed_generator = seed_generator(seed)
        for role in self.kernel_roles:
            setattr(self, role.attribute("alpha"), None)
            setattr(self, role.attribute("mask"), None)

    def _add_masks_and_noise(self):
        for role in self.kernel_roles:
            self._add_mask_and_noise(role)
        self.pruning_step = self.add_weight(
            name="pruning_step",
            shape=(),
            initializer=keras.initializers.Constant(-1),
            dtype="int64",
            trainable=False,
        )

    def _add_mask_and_noise(self, role):
        kernel = getattr(self, role.name)
        shape = tuple(kernel.shape)
        mask = self.add_weight(
            name=role.attribute("mask"), shape=shape, initializer="ones", dtype="bool", trainable=False
        )
        threshold = self.add_weight(
            name=role.attribute("threshold"),
            shape=(),
            initializer="zeros",
            dtype="float32",
            trainable=False,
            autocast=False,
        )
        setattr(self, role.attribute("mask"), mask)
        setattr(self, role.attribute("threshold"), threshold)
        if self.noise != "none":
            alpha = self.add_weight(
                name=role.attribute("alpha"),
                shape=alpha_shape(shape, self.noise, role.filter_axes),
                initializer=keras.initializers.Constant(self.noise_scale),
                autocast=False,
            )
            setattr(self, role.attribute("alpha"), alpha)
        # the optimizer applies constraints after each update, so momentum and decay cannot revive a pruned weight
        kernel.constraint = _MaskConstraint(mask, kernel.constraint)
        # a gradient would reach the moving average of the weights, which `use_ema` assigns past the constraint
        if kernel.regularizer is not None:
            kernel.regularizer = MaskedRegularizer(mask, kernel.regularizer)

    def add_weight(self, *args, name=None, **kwargs):
        if name in {role.name for role in self.kernel_roles}:  # noise and mask are computed in float32
            kwargs["autocast"] = False
        return super().add_weight(*args, name=name, **kwargs)

    def enable_lora(self, *args, **kwargs):
        raise ValueError(
            "LoRA must be enabled on a layer without mask and noise; use the model that `rsr_tf.strip` returns. "
            f"Received: layer `{self.name}`"
        )

    @property
    def pruning_vars(self):
        """List of tuples `(kernel, mask, threshold)` of variables, one for each kernel."""
        return [
            (
                getattr(self, role.name),
                getattr(self, role.attribute("mask")),
                getattr(self, role.attribute("threshold")),
            )
            for role in self.kernel_roles
        ]

    def sample_kernel(self, role=None):
        """Draw one noisy kernel (Eq. 4), which serves a whole batch.

        Args:
            role: `KernelRole`, one of `kernel_roles`. Defaults to the first.

        Returns:
            A float32 tensor of the kernel's shape, float64 for a float64 variable; zero where pruned.
        """
        role = role or self.kernel_roles[0]
        kernel = in_single_precision(getattr(self, role.name))
        alpha, mask = getattr(self, role.attribute("alpha")), getattr(self, role.attribute("mask"))
        if alpha is None:
            return masked_kernel(kernel, mask)
        std = noise_std(kernel, in_single_precision(alpha))
        return noisy_kernel(kernel, std, mask, self._standard_normal(tuple(kernel.shape)))

    def as_float(self, inputs):
        """Return inputs that are whole numbers in the dtype that the layer computes in, and others unchanged."""
        return inputs if inputs.dtype.is_floating else tf.cast(inputs, self.compute_dtype)

    def _standard_normal(self, shape):
        return standard_normal(shape, self.seed, self.seed_generator)

    def _named_state(self):
        """Return the variables to save, by name.

        The state of the seed generator is among them; otherwise a resumed run would repeat its noise.
        """
        names = [role.name for role in self.kernel_roles] + ["bias"]
        names += [role.attribute(name) for role in self.kernel_roles for name in ("alpha", "mask", "threshold")]
        state = {name: getattr(self, name) for name in (*names, "pruning_step")}
        if self.seed_generator is not None:
            state["seed"] = self.seed_generator.state
        return {name: variable for name, variable in state.items() if variable is not None}

    def save_own_variables(self, store):
        for name, variable in self._named_state().items():
            store[name] = variable

    def load_own_variables(self, store):
        state = self._named_state()
        defaults = {"threshold": 0.0, "pruning_step": -1}  # files from before version 0.2.0 lack these
        if not set(state) - set(defaults) <= set(store.keys()) <= set(state):
            raise ValueError(
                f"The saved variables of layer `{self.name}` must be {sorted(state)}. Received: {sorted(store.keys())}"
            )
        for name, variable in state.items():
            value = store[name] if name in store else defaults[name]
            if np.shape(value) != tuple(variable.shape):
                raise ValueError(
                    f"The saved `{name}` of layer `{self.name}` must have the shape {tuple(variable.shape)}. "
                    f"Received: shape {np.shape(value)}"
                )
            variable.assign(value)

    def get_config(self):
        return {**super().get_config(), "noise": self.noise, "noise_scale": self.noise_scale, "seed": self.seed}


class _MaskConstraint(keras.constraints.Constraint):
    """Kernel constraint that applies the one set by the user, if any, and sets pruned weights to zero."""

    def __init__(self, mask, original):
        self.mask = mask
        self.original = original

    def __call__(self, kernel):
        return masked_kernel(kernel if self.original is None else self.original(kernel), self.mask)


class MaskedRegularizer(keras.regularizers.Regularizer):
    """Kernel regularizer that applies another one to the masked kernel, so that pruned weights get no gradient.

    Args:
        mask: boolean variable of the kernel's shape, `False` where pruned.
        original: the regularizer of the kernel.
    """

    def __init__(self, mask, original):
        self.mask = mask
        self.original = original

    def __call__(self, kernel):
        return self.original(masked_kernel(kernel, self.mask))
