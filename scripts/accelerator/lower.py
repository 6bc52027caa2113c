"""Write the training step of a config, its validation step and its state as files that JAX can run.

    python scripts/accelerator/lower.py CONFIG FOLDER [--set KEY=VALUE ...] [--steps-per-call N] [--check STEPS]

The step is that of `RSRModel` with cropping, mirroring and optimizer, as XLA gets it: StableHLO. A call of the program
runs one step, or N of them in a loop, as `steps_per_execution` of Keras does. `--check` also runs so many steps with
TensorFlow, for `run.py check`. See `artifact.py` for the files.
"""

import argparse
import contextlib
import functools
import itertools
import math
import re
import sys
from pathlib import Path
from unittest import mock

import keras
import numpy as np
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from accelerator.artifact import ARGUMENTS, Artifact, Program, epoch_order, write_program, write_split, write_state
from rsr_tf import data
from rsr_tf.config import load_config
from rsr_tf.data import as_pixels
from rsr_tf.data.augmentation import crop_and_flip
from rsr_tf.experiment import builders

PARTS = ("program", "data")
LARGE = 1000
"""Entries of the state with more elements are left out by `--timing`."""
LOCATION = r'\((?:"[^"]*"|[^()"]|\((?:"[^"]*"|[^()"])*\))*\)'
"""What follows `loc` in StableHLO: a name, a number or a text in parentheses, with another place in it or without."""
VALIDATION_BATCH = 250
"""Largest number of images in a validation batch; the batches have to be equal."""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="config file, or the name of a packaged config")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--check", type=int, default=0, metavar="STEPS", help="also write the result of so many steps")
    parser.add_argument(
        "--steps-per-call", type=int, default=1, metavar="N", help="training steps in a call; 0: an epoch"
    )
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS, help="what to write; default: all")
    parser.add_argument("--timing", action="store_true", help="leave large weights out of the state")
    options = parser.parse_args()
    config = load_config(options.config, options.overrides)
    options.folder.mkdir(parents=True, exist_ok=True)
    if "data" in options.parts:
        write_data(options.folder / "data.npz", config, builders.load_data(config))
    if "program" in options.parts:
        training = Training(config, options.steps_per_call)
        write_training(options.folder, training, small=options.timing, check_steps=options.check)


def write_training(folder, training, *, small=False, check_steps=0):
    """Write the programs of a training and its state.

    Args:
        folder: `Path` of the folder.
        training: a `Training`.
        small: whether to leave large weights out of the state.
        check_steps: number of steps to run with TensorFlow afterwards, for `run.py check`.
    """
    training.artifact().write(folder)
    for name in ARGUMENTS:
        write_program(folder, name, training.lowered(name))
    write_split(folder / "split.npz", splits_of(training.data_set))
    values = training.values()
    write_state(folder / "state.npz", [None if small and value.size > LARGE else value for value in values])
    if check_steps:
        write_expected(folder / "expected.npz", training, check_steps)


class Training:
    """A compiled `RSRModel` of a config, and its steps as functions of tensors.

    Args:
        config: a `rsr_tf.config.Config`.
        steps_per_call: number of training steps in a call of the program; 0 stands for those of an epoch.

    Raises:
        ValueError: if an epoch is not made of such calls.
    """

    def __init__(self, config, steps_per_call=1):
        self.config = config
        keras.utils.set_random_seed(config.seed)
        keras.config.set_dtype_policy(config.training.precision)
        self.data_set = builders.load_data(config)
        self.steps_per_epoch = data.steps_per_epoch(self.data_set.train, config.training.batch_size)
        self.steps_per_call = steps_per_call or self.steps_per_epoch
        if self.steps_per_epoch % self.steps_per_call:
            raise ValueError(f"{self.steps_per_epoch} steps of an epoch cannot be done {self.steps_per_call} at a time")
        self.model = build_model(config, self.data_set)
        self.validation_batch = largest_divisor(len(self.data_set.validation), VALIDATION_BATCH)
        self.functions = {name: tf.function(getattr(self, f"_{name}"), jit_compile=True) for name in ARGUMENTS}
        self.arguments = {name: self._example(name) for name in ARGUMENTS}
        self.metrics, self.changes, self.constants = {}, {}, []
        self._run_once()
        self.programs = {name: self._program(name) for name in ARGUMENTS}

    def _train(self, images, labels, order):
        """The training steps of a call; their metrics are running means, so the last ones stand for all."""
        return tf.while_loop(
            lambda step, _: step < self.steps_per_call,
            lambda step, _: (step + 1, self._step(images, labels, order)),
            (0, dict.fromkeys(self.metrics["train"], tf.constant(0.0))),
        )[1]

    def _step(self, images, labels, order):
        """One step of the training, on the images that `order` has for it."""
        size, step = self.config.training.batch_size, self.model.optimizer.iterations
        position = tf.cast(step % (len(order) // size) * size, tf.int32)
        chosen = tf.gather(order, position + tf.range(size))  # the places of a slice would be constants in XLA
        x = tf.gather(images, chosen)
        if self.config.data.crop_and_flip:
            x = crop_and_flip(x, tf.stack([tf.constant(self.config.seed, tf.int64), tf.cast(step, tf.int64)]))
        return self.model.train_step((as_pixels(x), tf.gather(labels, chosen)))

    def _validate(self, images, labels, first):
        """One step of the validation, on a batch that starts with image number `first`."""
        size = self.validation_batch
        chosen = first + tf.range(size)
        return self.model.test_step((as_pixels(tf.gather(images, chosen)), tf.gather(labels, chosen)))

    def _example(self, name):
        split = self.data_set.train if name == "train" else self.data_set.validation
        images, labels = tf.constant(split.images), tf.constant(split.labels.astype(np.int32))
        if name == "validate":
            return images, labels, tf.constant(0)
        return images, labels, tf.constant(self.order(0))

    def order(self, epoch):
        """Return the order of an epoch, as `run.py` makes it."""
        count, size = len(self.data_set.train), self.config.training.batch_size
        return epoch_order(self.config.seed, epoch, count, count // size * size)

    def _run_once(self):
        """Run each step once without XLA: this creates the metrics, and shows which variables a step assigns."""
        before = [variable.numpy() for variable in training_variables(self.model)]
        for name, step in {"train": self._step, "validate": self._validate}.items():
            with assigned_variables() as assigned:
                self.metrics[name] = sorted(tf.function(step)(*self.arguments[name]))
            pairs = enumerate(state_variables(self.model))
            self.changes[name] = {number for number, variable in pairs if id(variable.value.handle) in assigned}
        for variable, value in zip(training_variables(self.model), before, strict=True):
            variable.assign(value)
        self.model.reset_metrics()

    def values(self):
        """Return the values of all variables, and of the constants that the steps take."""
        return [variable.numpy() for variable in state_variables(self.model)] + self.constants

    def lowered(self, name):
        """Return a step as StableHLO.

        Raises:
            RuntimeError: if a variable is not used: XLA has its present value as a constant then.
        """
        text = self.functions[name].experimental_get_compiler_ir(*self.arguments[name])(stage="stablehlo")
        body = text[text.index("func.func @main") :].split("\n", 1)[1].split("func.func", 1)[0]
        program = self.programs[name]
        for place, number in enumerate(program.captures, len(ARGUMENTS[name])):
            if number in program.changes and not re.search(rf"%arg{place}\b", body):
                raise RuntimeError(f"{name}: the entry {number} became a constant")
        outputs = re.search(r"func\.func @main\(.*?\) -> \((.*?)\) \{", text)[1].count("tensor<")
        if outputs != len(program.metrics) + len(program.changes):
            raise RuntimeError(f"{name}: {outputs} outputs for {len(program.changes)} changed entries")
        return portable(text)

    def artifact(self):
        """Describe the programs and the state."""
        variables = state_variables(self.model)
        names = [variable.path for variable in variables] + ["constant"] * len(self.constants)
        first_metric = len(training_variables(self.model))
        return Artifact(
            config=self.config.model_dump(),
            programs=self.programs,
            entries=[(name, value.shape, value.dtype.name) for name, value in zip(names, self.values(), strict=True)],
            metric_entries=list(range(first_metric, len(variables))),
            images=[self.data_set.train.images.shape, self.data_set.train.images.dtype.name],
            classes=len(self.data_set.class_names),
            steps_per_epoch=self.steps_per_epoch,
            steps_per_call=self.steps_per_call,
            validation_batch=self.validation_batch,
            flops_per_step=flops_per_step(self.model, self.config),
        )

    def _program(self, name):
        variables = state_variables(self.model)
        numbers = {id(variable.value.handle): number for number, variable in enumerate(variables)}
        captures = []
        for outer, _ in self.functions[name].get_concrete_function(*self.arguments[name]).graph.captures:
            if id(outer) not in numbers:  # not a variable
                numbers[id(outer)] = len(variables) + len(self.constants)
                self.constants.append(outer.numpy())
            captures.append(numbers[id(outer)])
        return Program(captures, self.metrics[name], [number for number in captures if number in self.changes[name]])


@contextlib.contextmanager
def assigned_variables():
    """Yield a set that gets the handle's `id` of every `tf.Variable` that is assigned to meanwhile.

    A comparison of values before and after does not do: what is assigned can be the value that was there.
    """
    found = set()
    kinds = [kind for kind in type(tf.Variable(0.0)).__mro__ if "assign" in vars(kind)]  # not all inherit the first

    def recorded(method):
        def assign(variable, *arguments, **options):
            found.add(id(variable.handle))
            return method(variable, *arguments, **options)

        return assign

    with contextlib.ExitStack() as stack:
        for kind, name in itertools.product(kinds, ("assign", "assign_add", "assign_sub")):
            stack.enter_context(mock.patch.object(kind, name, recorded(getattr(kind, name))))
        yield found


def portable(text):
    """Replace the one operation that is not StableHLO, and that JAX does not take for a GPU: a copy of a result.

    Places in the source, a fifth of the text, are left out.
    """
    text = re.sub(r"^#loc.*\n", "", text, flags=re.MULTILINE)
    text = re.sub(rf" loc{LOCATION}", "", text)
    return re.sub(r"mhlo\.copy (%\w+) : (tensor<[^>]*>)", r"stablehlo.reshape \1 : (\2) -> \2", text)


def build_model(config, data_set):
    """Build and compile the `RSRModel` of a config, as `rsr train` does."""
    steps = data.steps_per_epoch(data_set.train, config.training.batch_size)
    network = builders.build_network(config, data_set)
    model = builders.build_rsr_model(config, network, warmup_steps=config.training.warmup_epochs * steps)
    rate = builders.build_learning_rate(
        config.training.schedule, config.training.learning_rate, config.training.epochs * steps
    )
    builders.compile_model(model, config, rate)
    model.optimizer.build(model.trainable_variables)
    return model


def training_variables(model):
    """Return the variables of a compiled model that training has to keep, each once: weights, seeds, optimizer."""
    metrics = {id(variable) for metric in model.metrics for variable in metric.variables}
    found = {id(variable): variable for variable in (*model.variables, *model.optimizer.variables)}
    return [variable for key, variable in found.items() if key not in metrics]


def metric_variables(model):
    """Return the variables of the metrics; the compiled ones exist after the first step only."""
    return list({id(variable): variable for metric in model.metrics for variable in metric.variables}.values())


def state_variables(model):
    """Return the variables of a model whose values are the state of its training, in the order of the state."""
    return training_variables(model) + metric_variables(model)


def flops_per_step(model, config):
    """Count the floating-point operations of convolutions and dense layers in a training step.

    A pass backwards costs as much as one forwards for the gradient of the inputs, and as much again for that of the
    kernel. A step of the attack needs the first only; the clean and the adversarial pass need both.
    """
    image = tf.TensorSpec((1, *model.input_shape[1:]))
    graph = tf.function(functools.partial(model, training=False)).get_concrete_function(image).graph
    products = [operation for operation in graph.get_operations() if operation.type in ("Conv2D", "MatMul")]
    forward = sum(2 * math.prod(each.outputs[0].shape) * math.prod(each.inputs[1].shape[:-1]) for each in products)
    attack_steps = config.attack.steps
    return float(forward * config.training.batch_size * (2 * attack_steps + 3 * (1 + bool(attack_steps))))


def largest_divisor(number, limit):
    return max(each for each in range(1, min(number, limit) + 1) if number % each == 0)


def write_data(path, config, data_set):
    """Write all training and validation images, or their JPEG files where the data set has them: much smaller."""
    images, _ = distinct_images(data_set)
    if "JPEG" not in data_set.title:
        np.savez_compressed(path, images=images)
        return
    known = jpeg_files(config)
    files = [known[image.tobytes()] for image in images]
    sizes = np.array([len(file) for file in files], np.uint16)
    np.savez_compressed(path, jpeg=np.frombuffer(b"".join(files), np.uint8), sizes=sizes)


def splits_of(data_set):
    """Return the numbers of the images of each split in `distinct_images`, and their labels, for `write_split`."""
    _, numbers = distinct_images(data_set)
    halves = np.split(numbers, [len(data_set.train)])
    labels = (data_set.train.labels, data_set.validation.labels)
    return dict(zip(("train", "validation"), zip(halves, labels, strict=True), strict=True))


def distinct_images(data_set):
    """Return all images, each once and sorted by their bytes, and where each image of the two splits is among them.

    The order is the same whatever is held out, so trainings with different seeds can share the images.

    Returns:
        Images `(m, h, w, c)`, and their numbers `(n,)` for the training images, then for the validation images.
    """
    both = np.concatenate([data_set.train.images, data_set.validation.images])
    rows = np.ascontiguousarray(both.reshape(len(both), -1)).view(np.uint8)
    _, first, numbers = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    return both[first], numbers.reshape(-1)


def jpeg_files(config):
    """Return a dict from the bytes of each decoded training image to its JPEG file."""
    import tensorflow_datasets as tfds

    options = {"data_dir": config.data.directory or None, "split": "train", "batch_size": -1}
    decoders = {"image": tfds.decode.SkipDecoding()}
    images = tfds.load(config.data.name, **options)["image"].numpy()
    files = tfds.load(config.data.name, **options, decoders=decoders)["image"].numpy()
    return {image.tobytes(): file for image, file in zip(images, files, strict=True)}


def write_expected(path, training, steps):
    """Run steps with TensorFlow and write the metrics of the last one and the state after it."""
    images, labels, _ = training.arguments["train"]
    order = tf.constant(training.order(0))
    for _ in range(0, steps, training.steps_per_call):
        metrics = training.functions["train"](images, labels, order)
    arrays = {f"metric {name}": value.numpy() for name, value in metrics.items()}
    np.savez(path, steps=steps, **arrays, **{str(n): value for n, value in enumerate(training.values())})


if __name__ == "__main__":
    main()
