import re
import tomllib
from pathlib import Path

import pytest

from rsr_tf.config.schema import Config, UserError, key_table, load_config, parse_config, run_folder_of
from rsr_tf.experiment.run_folder import RunFolder

MINIMAL = """
data.name = "digits"
model.name = "small_cnn"
"""


def parse(text="", *overrides):
    return parse_config(tomllib.loads(MINIMAL + text), overrides, source="run.toml")


def whole_line(message):
    """A pattern that nothing but this message matches: no line before it, none after it."""
    return rf"\A{re.escape(message)}\Z"


def all_keys():
    sections = (entry for entry in Config.model_fields.items() if entry[0] != "seed")
    return ["seed"] + [f"{name}.{key}" for name, field in sections for key in field.annotation.model_fields]


def test_file_is_read_with_its_defaults(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(MINIMAL + "seed = 3\n[training]\nepochs = 2\n")
    config = load_config(path)
    assert (config.seed, config.data.name, config.model.name) == (3, "digits", "small_cnn")
    assert (config.training.epochs, config.training.batch_size) == (2, 128)
    assert config.attack.epsilon == 8 / 255
    assert config.pruning.sparsity == 0.6


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
        ("attack.epsilon = 8", "`attack.epsilon` should be less than or equal to 1. Received: 8"),
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
            "`pruning.schedule` should be 'one-shot', 'constant', 'polynomial' or 'rounds'. Received: 'cubic'",
        ),
        (
            'pruning.schedule = "polynomial"\npruning.gamma = 0.01',
            '`pruning` schedule "polynomial" takes a sparsity, not gamma (0.01)',
        ),
        ("pruning.power = 2", '`pruning` schedule "one-shot" has no use for power (2.0)'),
        (
            'pruning.schedule = "constant"\npruning.initial_sparsity = 0.1',
            '`pruning` schedule "constant" has no use for initial_sparsity (0.1)',
        ),
        (
            'pruning.schedule = "rounds"\npruning.finetune_epochs = 1\npruning.frequency = 10',
            '`pruning` schedule "rounds" has no use for frequency (10)',
        ),
        (
            'pruning.schedule = "polynomial"\npruning.rounds = 3',
            '`pruning` schedule "polynomial" has no use for rounds (3)',
        ),
        (
            'pruning.schedule = "polynomial"\npruning.filters = 0.5',
            '`pruning` schedule "polynomial" prunes in training, too early for filters (0.5)',
        ),
        ('pruning.schedule = "rounds"', '`pruning` schedule "rounds" needs finetune_epochs, which are 0'),
        ('pruning.schedule = "constant"\npruning.begin = 0.8', "`pruning` begin (0.8) must be less than end (0.75)"),
        (
            'pruning.schedule = "polynomial"\npruning.initial_sparsity = 0.7',
            "`pruning` initial_sparsity (0.7) must not exceed sparsity (0.6)",
        ),
        ("data.validation = 1", "`data.validation` should be less than 1. Received: 1"),
        ("evaluation.step_size = 0.5", "`evaluation` step_size (0.5) must be at most epsilon (0.0313725)"),
        ("evaluation.epsilon = 0.001", "`evaluation` step_size (0.00784314) must be at most epsilon (0.001)"),
        ("seed = -1", "`seed` should be greater than or equal to 0. Received: -1"),
    ],
)
def test_wrong_value_is_one_line_with_key_expectation_and_finding(text, message):
    with pytest.raises(UserError, match=whole_line(f"run.toml: {message}")):
        parse(text)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.name=mnist", "`data.name` should be 'digits', 'cifar10' or 'npz'. Received: 'mnist'"),
        (
            "model.name=resnet50",
            "`model.name` should be 'small_cnn', 'resnet20', 'resnet18' or 'vgg16'. Received: 'resnet50'",
        ),
        ("model.noise=loud", "`model.noise` should be 'channel', 'layer', 'element' or 'none'. Received: 'loud'"),
        ("attack=1", "`attack` should be a valid dictionary or instance of Attack. Received: 1"),
    ],
)
def test_wrong_override_is_one_line_with_key_expectation_and_finding(override, message):
    with pytest.raises(UserError, match=whole_line(f"run.toml: {message}")):
        parse("", override)


@pytest.mark.parametrize("name", ["data", "model"])
def test_missing_section_is_named(name):
    values = tomllib.loads(MINIMAL)
    del values[name]
    line = f"run.toml: `{name}` is missing. Expected a section, with a `name` at least"
    with pytest.raises(UserError, match=whole_line(line)):
        parse_config(values, source="run.toml")


def test_missing_key_is_named_with_what_it_is():
    line = "run.toml: `data.name` is missing. Expected digits, cifar10 (TFDS), or npz: a file of your own"
    with pytest.raises(UserError, match=whole_line(line)):
        parse_config({**tomllib.loads(MINIMAL), "data": {}}, source="run.toml")


@pytest.mark.parametrize("override", ["data.name", "=3", "data.=3", ".name=3"])
def test_override_without_key_or_value_says_what_form_it_has(override):
    with pytest.raises(UserError, match=whole_line(f"--set expects section.key=value. Received: {override}")):
        parse("", override)


def test_override_below_a_value_says_that_it_is_no_section():
    with pytest.raises(UserError, match=whole_line("--set model.name.x=3: `name` is not a section")):
        parse("", "model.name.x=3")


def test_overrides_are_toml_or_else_strings():
    config = parse(
        "training.epochs = 9",
        "training.epochs=2",
        "attack.epsilon=8/255",
        "attack.random_start=false",
        "data.directory=/a folder/x=y",
        'model.noise="layer"',
        "pruning.gamma=0.1",
    )
    assert config.training.epochs == 2
    assert config.attack.epsilon == 8 / 255
    assert config.attack.random_start is False
    assert config.data.directory == "/a folder/x=y"
    assert config.model.noise == "layer"
    assert (config.pruning.sparsity, config.pruning.gamma) == (None, 0.1)


def test_last_of_two_overrides_wins():
    assert parse("", "seed=1", "seed=2").seed == 2


def test_missing_file_is_one_line_with_its_path(tmp_path):
    path = tmp_path / "none.toml"
    expected = f"cannot read the config {path}: [Errno 2] No such file or directory: '{path}'"
    with pytest.raises(UserError, match=whole_line(expected)):
        load_config(path)


def test_folder_without_a_config_is_one_line_with_the_path_of_what_is_missing(tmp_path):
    with pytest.raises(UserError, match=whole_line(f"{tmp_path} is not a run folder: it has no config.toml")):
        load_config(tmp_path)


def test_config_of_a_run_is_read_from_its_folder(tmp_path):
    config = parse("", "seed=7", "pruning.gamma=0.1")
    folder = RunFolder(tmp_path)
    folder.claim(config.model_dump(), {"rsr_tf": "0.2.0"})
    folder.release()
    assert load_config(folder.path) == config
    assert load_config(folder.path, ["seed=8"]).seed == 8


def test_run_goes_into_its_own_folder_or_one_named_like_its_config(tmp_path):
    assert run_folder_of(tmp_path) == tmp_path
    assert run_folder_of("configs/quick.toml") == Path("runs/quick")


def test_config_in_a_run_folder_is_no_config_for_another_run(tmp_path):
    """Its name would put that run into `runs/config`."""
    folder = RunFolder(tmp_path)
    folder.claim(parse("").model_dump(), {"rsr_tf": "0.2.0"})
    folder.release()
    with pytest.raises(UserError, match="unknown key `versions`"):
        load_config(folder.config)


def test_binary_file_is_one_line_with_its_path(tmp_path):
    path = tmp_path / "picture.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=rf"\Acannot read the config {re.escape(str(path))}: .*codec can't decode.*\Z"):
        load_config(path)


def test_invalid_toml_is_one_line_with_path_and_place(tmp_path):
    path = tmp_path / "broken.toml"
    path.write_text("seed = 1\nseed =\n")
    with pytest.raises(UserError, match=rf"\A{re.escape(str(path))} is not valid TOML: .*line 2.*\Z"):
        load_config(path)


def test_key_table_covers_every_key_once_and_describes_it():
    table = key_table()
    assert [key for key, _, _ in table] == all_keys()
    assert all(description for _, _, description in table)


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("seed", "0"),
        ("data.name", "required"),
        ("data.directory", "none"),
        ("attack.epsilon", "8/255"),
        ("attack.step_size", "2/255"),
        ("attack.random_start", "true"),
        ("evaluation.draws", "5"),
    ],
)
def test_key_table_shows_the_default(key, shown):
    assert {name: default for name, default, _ in key_table()}[key] == shown


@pytest.mark.parametrize(
    "text",
    [
        'pruning.schedule = "one-shot"\npruning.gamma = 0.01\npruning.finetune_epochs = 2',
        'pruning.schedule = "constant"\npruning.begin = "1/3"\npruning.end = 1\npruning.frequency = 10',
        'pruning.schedule = "polynomial"\npruning.initial_sparsity = 0.2\npruning.power = 1\npruning.begin = 0',
        'pruning.schedule = "rounds"\npruning.rounds = 3\npruning.finetune_epochs = 2',
    ],
)
def test_every_schedule_takes_its_keys_and_is_stored_with_those_of_the_others(text):
    config = parse(text)
    assert parse_config(config.model_dump(), source="stored") == config


def test_gamma_takes_the_place_of_the_default_sparsity(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('[data]\nname = "digits"\n[model]\nname = "small_cnn"\n[pruning]\ngamma = 0.01\n')
    assert load_config(path).pruning.sparsity is None
    assert load_config(path, ["pruning.sparsity=0.5"]).pruning.gamma is None
    path.write_text(path.read_text().replace("gamma = 0.01", "sparsity = 0.5"))
    pruning = load_config(path, ["pruning.gamma=1e-3"]).pruning
    assert (pruning.sparsity, pruning.gamma) == (None, 1e-3)
