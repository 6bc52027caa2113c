"""The choices of a user are those that the library knows."""

import inspect
import re
from typing import get_args

import keras
import pytest

import rsr_tf
from rsr_tf import choices, data, evaluation, models
from rsr_tf.attacks.norms import NORMS
from rsr_tf.cli import main
from rsr_tf.config.schema import Config, Data
from rsr_tf.data import augmentation
from rsr_tf.data.stored import is_kept
from rsr_tf.experiment.builders import build_learning_rate
from rsr_tf.layers import noise
from rsr_tf.training.objectives import OBJECTIVES


def listed_in_error(function, *arguments, **options):
    """Return the choices that the error about an unknown one lists."""
    with pytest.raises(ValueError, match=r"must be one of .* Received: ") as caught:
        function(*arguments, **options)
    return re.findall(r"'([\w:-]+)'", str(caught.value).partition("Received")[0])


def test_models_are_those_of_the_library():
    functions = {name for name in models.__all__ if inspect.isfunction(getattr(models, name))}
    assert functions == set(choices.MODELS)


def test_data_sets_are_those_of_the_library():
    assert set(listed_in_error(data.load, "none")) == set(choices.DATA_SETS)


@pytest.mark.parametrize("name", choices.DATA_SETS)
def test_config_takes_every_data_set(name):
    assert Data(name=name).name == name


def test_augmentations_are_those_of_the_data():
    assert (augmentation.CROP_AND_FLIP, *augmentation.LAYERS) == choices.AUGMENTATIONS
    assert augmentation.MIXING == choices.LABEL_MIXING
    assert all(hasattr(keras.layers, name) for name in (*augmentation.LAYERS, *augmentation.MIXING))


def test_caches_are_those_of_stored_images():
    assert set(listed_in_error(is_kept, (1, 1, 1, 1), "none")) == set(choices.DATA_CACHES)


def test_noise_kinds_are_those_of_the_layers():
    assert noise.KINDS == choices.NOISE_KINDS


def test_scopes_are_those_of_both_kinds_of_pruning(noisy_model):
    options = {"exclude": (), "scope": "none"}
    for found in (
        listed_in_error(rsr_tf.prune, noisy_model, sparsity=0.5, **options),
        listed_in_error(rsr_tf.prune_filters, noisy_model, share=0.5, **options),
    ):
        assert set(found) == set(choices.SCOPES)


def test_label_sources_are_those_of_the_training(noisy_model):
    options = {"attack_labels": "none"}
    found = listed_in_error(rsr_tf.RSRModel, noisy_model.inputs, noisy_model.outputs, **options)
    assert tuple(found) == choices.LABEL_SOURCES


def test_norms_are_those_of_the_attacks():
    assert tuple(NORMS) == choices.NORMS


def test_optimizers_are_those_of_keras_that_train_alone():
    """Others wrap optimizers, or have weights for training that are not those of evaluation."""
    classes = {name.lower() for name, member in vars(keras.optimizers).items() if inspect.isclass(member)}
    others = {"optimizer", "lossscaleoptimizer", "multioptimizer", "optimizermap", "schedulefreeadamw"}
    assert set(choices.OPTIMIZERS) == classes - others


def test_objectives_are_those_of_the_training():
    assert tuple(OBJECTIVES) == choices.OBJECTIVES


def test_suites_are_those_of_the_evaluation_in_the_other_order():
    assert tuple(reversed(evaluation.SUITES)) == choices.SUITES


def test_tiers_and_noises_of_zoo_are_those_of_the_evaluation():
    assert tuple(str(tier) for tier in evaluation.TIERS) == choices.ZOO_TIERS
    assert set(evaluation.ZOO_COLUMNS) == set(choices.ZOO_NOISES)


def test_precisions_are_policies_of_keras():
    assert [keras.dtype_policies.get(name).name for name in choices.PRECISIONS] == list(choices.PRECISIONS)


def test_every_learning_rate_schedule_can_be_built():
    rates = {name: build_learning_rate(name, peak=0.1, steps=100) for name in choices.LEARNING_RATE_SCHEDULES}
    assert len({type(rate) for rate in rates.values()}) == len(rates)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("data.cache", choices.DATA_CACHES),
        ("data.class_weights", choices.CLASS_WEIGHTS),
        ("model.noise", choices.NOISE_KINDS),
        ("model.lasso_step", choices.LASSO_STEPS),
        ("attack.labels", choices.LABEL_SOURCES),
        ("attack.overfitting_watch", choices.OVERFITTING_WATCHES),
        ("training.optimizer", choices.OPTIMIZERS),
        ("training.schedule", choices.LEARNING_RATE_SCHEDULES),
        ("training.precision", choices.PRECISIONS),
        ("pruning.scope", choices.SCOPES),
        ("pruning.schedule", choices.PRUNING_SCHEDULES),
    ],
)
def test_config_takes_the_choices(key, values):
    section, name = key.split(".")
    assert get_args(Config.model_fields[section].annotation.model_fields[name].annotation) == values


@pytest.mark.parametrize(
    ("command", "option", "values"),
    [
        ("evaluate", "network", choices.NETWORKS),
        ("evaluate", "suite", choices.SUITES[::-1]),
        ("zoo", "tier", choices.ZOO_TIERS),
        ("zoo", "columns", choices.ZOO_NOISES),
    ],
)
def test_command_takes_the_choices(command, option, values):
    (found,) = (parameter for parameter in main.commands[command].params if parameter.name == option)
    assert tuple(found.type.choices) == values
