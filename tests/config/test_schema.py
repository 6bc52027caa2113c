"""Types, ranges and combinations of the keys of a config."""

import pytest
from helpers import parse, whole_line

from rsr_tf.config import UserError, parse_config
from rsr_tf.config.reference import key_table


@pytest.mark.parametrize(
    ("text", "number"),
    [('"8/255"', 8 / 255), ('"1/2"', 0.5), ('"0.25"', 0.25), ('"1e-3"', 1e-3), ("0.25", 0.25), ("1", 1.0)],
)
def test_number_or_fraction_as_string_is_the_number_it_means(text, number):
    assert parse(f"attack.epsilon = {text}").attack.epsilon == number


def test_config_cannot_be_changed_afterwards():
    with pytest.raises(ValueError, match="Instance is frozen"):
        parse().training.epochs = 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("attack.epsilonn = 0.1", "unknown key `attack.epsilonn`. Expected `epsilon`?"),
        ("attac.epsilon = 0.1", "unknown key `attac`. Expected `attack`?"),
        ("undefended.x = 1", "unknown key `undefended.x`. Expected one of epochs, learning_rate"),
        ('training.epochs = "many"', "`training.epochs` should be a valid integer. Received: 'many'"),
        ("training.epochs = 1.5", "`training.epochs` should be a valid integer. Received: 1.5"),
        ("training.epochs = true", "`training.epochs` should be a valid integer. Received: True"),
        ("training.epochs = 0", "`training.epochs` should be greater than or equal to 1. Received: 0"),
        ("attack.random_start = 1", "`attack.random_start` should be a valid boolean. Received: 1"),
        ("data.directory = 3", "`data.directory` should be a valid string. Received: 3"),
        ("attack.epsilon = 8", "`attack.epsilon` must be at most 1 in linf. Received: 8"),
        ('attack.norm = "l1"', "`attack.norm` should be 'linf' or 'l2'. Received: 'l1'"),
        ("attack.epsilon = 0", "`attack.epsilon` should be greater than 0. Received: 0"),
        ("attack.epsilon = nan", "`attack.epsilon` should be a finite number. Received: nan"),
        ("attack.epsilon = [1]", "`attack.epsilon` should be a valid number. Received: [1]"),
        (
            'attack.epsilon = "1/0"',
            "`attack.epsilon` expected a number or a fraction such as \"8/255\". Received: '1/0'",
        ),
        (
            'attack.epsilon = "1e400"',
            "`attack.epsilon` expected a number or a fraction such as \"8/255\". Received: '1e400'",
        ),
        ("model.lasso = -1", "`model.lasso` should be greater than or equal to 0. Received: -1"),
        ("pruning.sparsity = 1.5", "`pruning.sparsity` should be less than or equal to 1. Received: 1.5"),
        ("pruning.gamma = -0.1", "`pruning.gamma` should be greater than or equal to 0. Received: -0.1"),
        ('pruning.exclude = "first"', "`pruning.exclude` should be a valid list. Received: 'first'"),
        ("pruning.exclude = [1]", "`pruning.exclude.0` should be a valid string. Received: 1"),
        (
            "pruning.max_layer_sparsity = 2",
            "`pruning.max_layer_sparsity` should be less than or equal to 1. Received: 2",
        ),
        (
            "pruning.sparsity = 0.5\npruning.gamma = 0.1",
            "`pruning` give exactly one of sparsity (0.5) and gamma (0.1)",
        ),
        (
            'pruning.schedule = "cubic"',
            "`pruning.schedule` should be 'one-shot', 'constant', 'polynomial', 'rounds' or 'admm'. Received: 'cubic'",
        ),
        (
            'pruning.schedule = "polynomial"\npruning.gamma = 0.01',
            '`pruning` schedule "polynomial" takes a sparsity, not gamma (0.01)',
        ),
        ("pruning.power = 2", '`pruning` schedule "one-shot" does not use power (2.0)'),
        (
            'pruning.schedule = "constant"\npruning.initial_sparsity = 0.1',
            '`pruning` schedule "constant" does not use initial_sparsity (0.1)',
        ),
        (
            'pruning.schedule = "rounds"\npruning.finetune_epochs = 1\npruning.frequency = 10',
            '`pruning` schedule "rounds" does not use frequency (10)',
        ),
        (
            'pruning.schedule = "polynomial"\npruning.rounds = 3',
            '`pruning` schedule "polynomial" does not use rounds (3)',
        ),
        (
            'pruning.schedule = "polynomial"\npruning.filters = 0.5',
            '`pruning` schedule "polynomial" prunes in training, too early for filters (0.5)',
        ),
        (
            'pruning.schedule = "rounds"',
            '`pruning` schedule "rounds" needs finetune_epochs >= 1. Received: finetune_epochs=0',
        ),
        ('pruning.schedule = "constant"\npruning.begin = 0.8', "`pruning` begin (0.8) must be less than end (0.75)"),
        (
            'pruning.schedule = "polynomial"\npruning.initial_sparsity = 0.7',
            "`pruning` initial_sparsity (0.7) must not exceed sparsity (0.6)",
        ),
        ("data.validation = 1", "`data.validation` should be less than 1. Received: 1"),
        ("evaluation.step_size = 0.5", "`evaluation` step_size (0.5) must be at most epsilon (0.0313725)"),
        ("evaluation.epsilon = 0.001", "`evaluation` step_size (0.00784314) must be at most epsilon (0.001)"),
        (
            'training.optimizer = "adam"\ntraining.momentum = 0.5',
            '`training` optimizer "adam" does not use momentum (0.5)',
        ),
        ("training.momentum = 1", "`training.momentum` should be less than 1. Received: 1"),
        ("training.label_smoothing = 1", "`training.label_smoothing` should be less than 1. Received: 1"),
        ("training.ema_momentum = 1", "`training.ema_momentum` should be less than 1. Received: 1"),
        ("training.clip_norm = -1", "`training.clip_norm` should be greater than or equal to 0. Received: -1"),
        ("seed = -1", "`seed` should be greater than or equal to 0. Received: -1"),
    ],
)
def test_wrong_value_is_one_line_with_key_expectation_and_finding(text, message):
    with pytest.raises(UserError, match=whole_line(f"run.toml: {message}")):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        'pruning.schedule = "one-shot"\npruning.gamma = 0.01\npruning.finetune_epochs = 2',
        'pruning.schedule = "constant"\npruning.begin = "1/3"\npruning.end = 1\npruning.frequency = 10',
        'pruning.schedule = "polynomial"\npruning.initial_sparsity = 0.2\npruning.power = 1\npruning.begin = 0',
        'pruning.schedule = "rounds"\npruning.rounds = 3\npruning.finetune_epochs = 2',
    ],
)
def test_every_schedule_takes_its_keys_and_survives_storing(text):
    config = parse(text)
    assert parse_config(config.model_dump(), source="stored") == config


COUNTS = (
    *("attack.steps", "training.epochs", "training.batch_size", "training.warmup_epochs", "pruning.frequency"),
    *("pruning.rounds", "pruning.finetune_epochs", "undefended.epochs", "evaluation.steps", "evaluation.images"),
    *("evaluation.draws", "evaluation.batch_size"),
)


@pytest.mark.parametrize("key", COUNTS)
@pytest.mark.parametrize("value", [1_000_001, 2**31, 2**63, 10**30])
def test_count_that_a_graph_cannot_hold_is_refused(key, value):
    with pytest.raises(
        UserError, match=whole_line(f"--set {key}={value}: `{key}` should be less than or equal to 1000000. ")[:-2]
    ):
        parse("", f"{key}={value}")


def test_every_count_of_the_config_has_a_bound():
    counts = [key for key, default, _ in key_table() if default.isdigit()]
    for key in counts:
        with pytest.raises(UserError, match=rf"`{key}`"):
            parse("", f"{key}={2**63}")
    assert set(COUNTS) < set(counts)


UNBOUNDED = {
    **{"exponent": "1e999999999", "small": "1e-999999999/3", "long": "9" * 5_000_000, "denominator": "1/" + "9" * 200},
    **{"both": "1e99999999/1", "nan": "nan", "infinite": "inf", "hexadecimal": "0x1p3"},
}


@pytest.mark.parametrize("name", UNBOUNDED)
def test_number_that_takes_forever_or_is_none_is_refused_at_once(name):
    with pytest.raises(UserError, match=r"`attack\.epsilon` expected a number or a fraction") as caught:
        parse("", f'attack.epsilon="{UNBOUNDED[name]}"')
    assert len(str(caught.value)) < 400


def test_number_too_small_for_a_float_is_zero():
    with pytest.raises(UserError, match=r"`attack\.epsilon` should be greater than 0"):
        parse("", 'attack.epsilon="1e-999999999"')


def test_wide_resnet_has_its_usual_size_unless_told_otherwise():
    model = parse("", "model.name=wide_resnet").model
    assert (model.depth, model.width) == (28, 10.0)
    model = parse("", "model.name=wide_resnet", "model.depth=16", "model.width=4").model
    assert (model.depth, model.width) == (16, 4.0)


@pytest.mark.parametrize(
    ("name", "depth", "message"),
    [
        ("small_cnn", 16, "`model` small_cnn does not use depth (16)"),
        ("wide_resnet", 20, "`model` depth must be 6n + 4, such as 16, 28 or 34. Received: 20"),
        ("wide_resnet", 4, "`model.depth` should be greater than or equal to 10. Received: 4"),
    ],
)
def test_depth_is_that_of_a_wide_resnet(name, depth, message):
    with pytest.raises(UserError, match=whole_line(f"run.toml: {message}")):
        parse_config({"data": {"name": "digits"}, "model": {"name": name, "depth": depth}}, source="run.toml")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("name", "tfds:", "should be 'digits', .* or 'tfds:NAME'"),
        ("test", 1.0, "less than 1"),
        ("resize", [8], "at least 2 items"),
        ("resize", [8, 8, 8], "at most 2 items"),
        ("resize", [8, 0], "greater than or equal to 1"),
        ("resize", 8, "valid list"),
        ("cache", "disk", "'auto', 'memory' or 'stream'"),
        ("augment", ["Dense"], "should be a list of crop_and_flip, AutoContrast, .* Received"),
        ("augment", ["RandomFlip", "MixUp"], "takes no MixUp: it mixes labels"),
        ("augment", "RandomFlip", "valid list"),
        ("class_weights", "some", "'none' or 'balanced'"),
    ],
)
def test_wrong_key_of_the_data_is_one_line(key, value, message):
    values = {"data": {"name": "digits", key: value}, "model": {"name": "small_cnn"}}
    with pytest.raises(UserError, match=rf"`data\.{key}(\.\d)?` .*{message}"):
        parse_config(values, source="run.toml")


def test_crops_are_not_made_twice():
    values = {"data": {"name": "digits", "crop_and_flip": True, "augment": ["crop_and_flip"]}}
    with pytest.raises(UserError, match="crops and flips twice"):
        parse_config(values | {"model": {"name": "small_cnn"}}, source="run.toml")
