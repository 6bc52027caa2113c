"""Reading a config: files, run folders, packaged configs, overrides, and the messages for what is wrong."""

import re
import tomllib
from pathlib import Path

import pytest
from helpers import MINIMAL, parse, whole_line

from rsr_tf.config import Share, UserError, load_config, parse_config, parse_numbers, run_folder_of
from rsr_tf.config.loading import packaged_configs
from rsr_tf.experiment.run_folder import RunFolder


def test_file_is_read_with_its_defaults(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(MINIMAL + "seed = 3\n[training]\nepochs = 2\n")
    config = load_config(path)
    assert (config.seed, config.data.name, config.model.name) == (3, "digits", "small_cnn")
    assert (config.training.epochs, config.training.batch_size) == (2, 128)
    assert config.attack.epsilon == 8 / 255
    assert config.pruning.sparsity == 0.6


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "data.name=mnist",
            "`data.name` should be 'digits', 'cifar10', 'npz', 'folder' or 'tfds:NAME'. Received: 'mnist'",
        ),
        (
            "model.name=resnet50",
            "`model.name` should be 'small_cnn', 'resnet20', 'resnet18', 'vgg16', 'wide_resnet' or 'keras:NAME', "
            "such as 'keras:MobileNetV3Small' (did you mean 'resnet20'?). Received: 'resnet50'",
        ),
        ("model.noise=loud", "`model.noise` should be 'channel', 'layer', 'element' or 'none'. Received: 'loud'"),
        ("attack=1", "`attack` should be a valid dictionary or instance of Attack. Received: 1"),
    ],
)
def test_wrong_override_is_one_line_with_key_expectation_and_finding(override, message):
    with pytest.raises(UserError, match=whole_line(f"--set {override}: {message}")):
        parse("", override)


@pytest.mark.parametrize(
    ("text", "overrides", "culprit"),
    [
        ("training.epochs = 0", (), "run.toml"),
        ("training.epochs = 0", ("seed=3",), "run.toml"),
        ("training.epochs = 0", ("training.epochs=-1",), "--set training.epochs=-1"),
        ("training.epochs = 3", ("training.epochs=2", "training.epochs=0"), "--set training.epochs=0"),
        ("", ("seed=3", "pruning={sparsity = 2}"), "--set pruning={sparsity = 2}"),
        ("", ("evaluation.epsilon=0.001",), "--set evaluation.epsilon=0.001"),
        ("", ("pruning.begin=0.9", "pruning.end=0.8"), "--set pruning.begin=0.9 --set pruning.end=0.8"),
        ("evaluation.epsilon = 0.001", ("evaluation.draws=2",), "run.toml"),
    ],
)
def test_mistake_is_blamed_on_who_made_it(text, overrides, culprit):
    with pytest.raises(UserError, match=rf"\A{re.escape(culprit)}: `"):
        parse(text, *overrides)


@pytest.mark.parametrize("name", ["data", "model"])
def test_missing_section_is_named(name):
    values = tomllib.loads(MINIMAL)
    del values[name]
    line = f"run.toml: `{name}` is missing. Expected a section, with a `name` at least"
    with pytest.raises(UserError, match=whole_line(line)):
        parse_config(values, source="run.toml")


def test_missing_key_is_named_with_what_it_is():
    line = (
        "run.toml: `data.name` is missing. Expected digits, cifar10, npz: a NumPy file, folder: image files, or "
        "tfds:NAME (docs/data.md)"
    )
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
    expected = f"cannot read the config {path}: no such file. Packaged configs: {', '.join(packaged_configs())}"
    with pytest.raises(UserError, match=whole_line(expected)):
        load_config(path)


def test_packaged_config_is_found_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert list(packaged_configs()) == [
        *("cifar10/resnet20_pgd", "cifar10/resnet20_rsr", "cifar10/resnet20_undefended"),
        "paper/resnet20_rsr",
        "quickstart",
    ]
    config = load_config("cifar10/resnet20_rsr", ["seed=3"])
    assert (config.data.name, config.model.name, config.seed) == ("cifar10", "resnet20", 3)
    assert run_folder_of("cifar10/resnet20_rsr") == Path("runs/resnet20_rsr")


def test_path_on_disk_wins_over_a_packaged_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("quickstart").write_text(MINIMAL + "seed = 77")
    assert load_config("quickstart").seed == 77


def test_list_of_numbers_is_sorted_and_distinct():
    assert parse_numbers("0.9, 1/2,0.9,0", Share, source="--sparsities") == [0.0, 0.5, 0.9]
    assert parse_numbers(None, Share, source="--sparsities") == []


def test_folder_without_a_config_is_one_line_with_its_path(tmp_path):
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
    assert run_folder_of("some/quick.toml") == Path("runs/quick")


def test_config_that_a_run_wrote_stands_for_the_run(tmp_path):
    folder = RunFolder(tmp_path)
    folder.claim(parse("", "seed=7").model_dump(), {"rsr_tf": "0.2.0"})
    folder.release()
    assert load_config(folder.config).seed == 7
    assert run_folder_of(folder.config) == tmp_path


def test_config_of_that_name_that_no_run_wrote_has_a_run_of_its_own(tmp_path):
    (tmp_path / "config.toml").write_text(MINIMAL)
    assert run_folder_of(tmp_path / "config.toml") == Path("runs/config")


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


def test_gamma_takes_the_place_of_the_default_sparsity(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('[data]\nname = "digits"\n[model]\nname = "small_cnn"\n[pruning]\ngamma = 0.01\n')
    assert load_config(path).pruning.sparsity is None
    assert load_config(path, ["pruning.sparsity=0.5"]).pruning.gamma is None
    path.write_text(path.read_text().replace("gamma = 0.01", "sparsity = 0.5"))
    pruning = load_config(path, ["pruning.gamma=1e-3"]).pruning
    assert (pruning.sparsity, pruning.gamma) == (None, 1e-3)


LONG_KEYS = f"[{'a.' * 20_000}a]\n" + "".join(f"b{number} = 1\n" for number in range(5000))
DEEP = {
    **{"long keys": LONG_KEYS, "keys": "a." * 2000 + "b = 1"},
    **{"lists": "seed = " + "[" * 2000 + "]" * 2000, "tables": "seed = " + "{a=" * 2000},
}


@pytest.mark.parametrize("name", DEEP)
def test_config_that_is_nested_too_deep_is_one_line_with_its_path(tmp_path, name):
    path = tmp_path / "deep.toml"
    path.write_text(DEEP[name])
    with pytest.raises(UserError, match=rf"\A{re.escape(str(path))} is not valid TOML: it is nested too deep\Z"):
        load_config(path)


@pytest.mark.parametrize(
    "override", ["seed=" + "[" * 2000, "a." * 2000 + "b=1", "seed=" + "{a=" * 90 + "[[[[[[[[[[[[[["]
)
def test_override_that_is_nested_too_deep_or_broken_is_refused(override):
    with pytest.raises(UserError, match=r"deep|`seed`"):
        parse("", override)


@pytest.mark.parametrize("text", ["seed = " + "9" * 5000, "seed = 0x" + "f" * 5000])
def test_integer_of_thousands_of_digits_is_one_short_line(tmp_path, text):
    path = tmp_path / "long.toml"
    path.write_text(text + MINIMAL)
    with pytest.raises(UserError, match=r"long\.toml") as caught:
        load_config(path)
    assert len(str(caught.value)) < 500


def test_received_value_is_shortened():
    with pytest.raises(UserError, match=r"`data\.name` .* Received: 'xxx.*xxx'\Z") as caught:
        parse("", "data.name=" + "x" * 50_000)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("override", ["seed=1\nfoo=2", "seed=1\n[attack]\nsteps=0", "seed=1\nattack.steps=0"])
def test_override_of_more_than_one_line_is_refused(override):
    with pytest.raises(UserError, match=r"\A--set seed takes one value\. Received more than one line: '1.n"):
        parse("", override)


def test_value_over_several_lines_is_one_value():
    assert parse("", 'pruning.exclude=[\n"first",\n"last"]').pruning.exclude == ["first", "last"]
    assert parse("", "seed=1\n# a comment").seed == 1


def test_file_without_an_end_is_not_read_to_it():
    with pytest.raises(UserError, match=r"\Acannot read the config /dev/zero: it has more than 100,000 bytes\Z"):
        load_config("/dev/zero")


def test_large_file_is_refused(tmp_path):
    path = tmp_path / "large.toml"
    path.write_text(MINIMAL + "# comment\n" * 20_000)
    with pytest.raises(UserError, match=r"large\.toml: it has more than 100,000 bytes"):
        load_config(path)


def link_to_itself(folder):
    (folder / "loop.toml").symlink_to(folder / "loop.toml")
    return folder / "loop.toml"


@pytest.mark.parametrize("odd", [lambda _: "x" * 5000, link_to_itself, lambda folder: folder / "a\0b"])
def test_odd_path_of_a_config_is_one_line(tmp_path, odd):
    with pytest.raises(UserError, match=r"xxxx|loop|a.b") as caught:
        load_config(odd(tmp_path))
    assert "\n" not in str(caught.value)


def test_folder_in_the_place_of_the_config_of_a_run_is_named(tmp_path):
    (tmp_path / "config.toml").mkdir()
    with pytest.raises(UserError, match=r"cannot read the config .*config\.toml: Is a directory"):
        load_config(tmp_path)


def test_override_of_several_lines_is_named_on_one():
    with pytest.raises(UserError, match=r"\A--set model\.noise=a b: `model\.noise` should be .*\Z"):
        parse("", "model.noise=a\n\tb")
