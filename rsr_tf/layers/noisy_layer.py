"""What every noisy and prunable layer has in common: its masks, noise scales and seed, and how they are saved."""

import functools
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from rsr_tf.keras_internals import unlocked
from rsr_tf.layers.noise import alpha_shape, check_kind, masked_kernel, noise_deviation, noisy_kernel, unseeded_normal

FRESH = "fresh"
"""Value of `seed` for noise that cannot be foreseen or replayed; made for export, not for training."""


class KernelRole(NamedTuple):
    """One of the kernels of a layer.

    Args:
        name: attribute of the layer that holds it; the word before `kernel`, if any, is that of its mask too.
        filter_axes: its axes that count filters, from the end.
        regularizer: entry of the layer's config for its regularizer.
    """

    name: str = "kernel"
    filter_axes: tuple = (-1,)
    regularizer: str = "kernel_regularizer"

    def beside(self, name):
        """The attribute that belongs to this kernel: `mask`, or `depthwise_mask`."""
        return self.name.removesuffix("kernel") + name


class WeightNoise:
    """What a layer with a kernel needs for Eq. 4 and for pruning, mixed in before a Keras layer.

    Noise and mask are computed in float32, whatever the compute type of the layer, and the pruned weights of `kernel`
    are put back to zero after every optimizer update. Beside the variables of the Keras layer it has

        alpha          noise scale, trainable; `None` without noise
        mask           bool, `False` marks a pruned weight
        threshold      gamma of the last pruning, float32; 0 before
        pruning_step   optimizer steps at the last pruning, int64; -1 before

    where `mask`, `threshold`, `pruning_step` and the list `pruning_vars` are named as in the wrapper of TensorFlow's
    Model Optimization Toolkit. A layer with two kernels has `depthwise_mask`, `pointwise_mask` and so on, and no plain
    `mask`: the mask of one kernel under that name would be taken for the whole.

    Args:
        noise: granularity of `alpha`, one of `rsr_tf.noise.KINDS`. Defaults to `"channel"`, the paper's.
        noise_scale: start value of `alpha`. Defaults to 0.25.
        seed: integer, `None` for a seed of the layer's own, or `"fresh"` for noise that is new in every process.

    Raises:
        ValueError: for an unknown `noise` or a negative `noise_scale`.
    """

    kernel_roles = (KernelRole(),)

    def __init__(self, *args, noise="channel", noise_scale=0.25, seed=None, **kwargs):
        super().__init__(*args, **kwargs)
        self._set_noise(noise, noise_scale, seed)

    @classmethod
    def adopt(cls, layer):
        """Make a built stock layer one of this class, in place and without noise; its variables stay the same objects.

        The way is that of Keras' own `enable_lora`. The class changes too, since a layer is loaded by its class, and
        since the mask has to stand in the forward pass: only there does it stop the gradient of a pruned weight.
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
        self.seed_generator = None if seed == FRESH else keras.random.SeedGenerator(seed)
        for role in self.kernel_roles:
            setattr(self, role.beside("alpha"), None)
            setattr(self, role.beside("mask"), None)

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
        mask = self.add_weight(name=role.beside("mask"), shape=shape, initializer="ones", dtype="bool", trainable=False)
        threshold = self.add_weight(
            name=role.beside("threshold"),
            shape=(),
            initializer="zeros",
            dtype="float32",
            trainable=False,
            autocast=False,
        )
        setattr(self, role.beside("mask"), mask)
        setattr(self, role.beside("threshold"), threshold)
        if self.noise != "none":
            alpha = self.add_weight(
                name=role.beside("alpha"),
                shape=alpha_shape(shape, self.noise, role.filter_axes),
                initializer=keras.initializers.Constant(self.noise_scale),
                autocast=False,
            )
            setattr(self, role.beside("alpha"), alpha)
        # applied by the optimizer after each update, so that momentum and decay cannot revive a pruned weight
        kernel.constraint = functools.partial(_constrain, mask=mask, own=kernel.constraint)

    def add_weight(self, *args, name=None, **kwargs):
        if name in {role.name for role in self.kernel_roles}:  # noise and mask want its float32 value
            kwargs["autocast"] = False
        return super().add_weight(*args, name=name, **kwargs)

    def enable_lora(self, *args, **kwargs):
        raise ValueError(
            "LoRA is for layers without mask and noise; `rsr_tf.strip` makes a model of them. "
            f"Received: layer `{self.name}`"
        )

    @property
    def pruning_vars(self):
        """A tuple `(kernel, mask, threshold)` of variables for every kernel."""
        return [
            (getattr(self, role.name), getattr(self, role.beside("mask")), getattr(self, role.beside("threshold")))
            for role in self.kernel_roles
        ]

    def sample_kernel(self, role=None):
        """One draw of Eq. 4 for a whole batch.

        Args:
            role: which of `kernel_roles`. Defaults to the first.

        Returns:
            A float32 tensor of the kernel's shape; zero where pruned.
        """
        role = role or self.kernel_roles[0]
        kernel = tf.convert_to_tensor(getattr(self, role.name))
        alpha, mask = getattr(self, role.beside("alpha")), getattr(self, role.beside("mask"))
        if alpha is None:
            return masked_kernel(kernel, mask)
        deviation = noise_deviation(kernel, alpha)
        return noisy_kernel(kernel, deviation, mask, self._standard_normal(tuple(kernel.shape)))

    def _standard_normal(self, shape):
        if self.seed_generator is None:
            return unseeded_normal(shape)
        return keras.random.normal(shape, dtype="float32", seed=self.seed_generator)

    def _named_state(self):
        """Every variable that must survive saving, the state of the seed included: else a resumed run replays noise."""
        names = [role.name for role in self.kernel_roles] + ["bias"]
        names += [role.beside(name) for role in self.kernel_roles for name in ("alpha", "mask", "threshold")]
        state = {name: getattr(self, name) for name in (*names, "pruning_step")}
        if self.seed_generator is not None:
            state["seed"] = self.seed_generator.state
        return {name: variable for name, variable in state.items() if variable is not None}

    def save_own_variables(self, store):
        for name, variable in self._named_state().items():
            store[name] = variable

    def load_own_variables(self, store):
        state = self._named_state()
        defaults = {"threshold": 0.0, "pruning_step": -1}  # not in files of before version 0.2.0
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


def _constrain(kernel, *, mask, own):
    """The layer's own kernel constraint, if it has one, and zeros where pruned."""
    return masked_kernel(kernel if own is None else own(kernel), mask)
