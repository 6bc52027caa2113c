"""What README and docs say is so: the Python examples run, links and configs exist."""

import re
from pathlib import Path

import keras
import pytest
import tensorflow as tf

import rsr_tf
from rsr_tf.config import load_config

pytestmark = pytest.mark.integration

REPOSITORY = Path(__file__).parent.parent


def test_readme_has_at_most_a_thousand_words_and_its_links_lead_somewhere():
    readme = (REPOSITORY / "README.md").read_text()
    assert len(readme.split()) <= 1000
    links = [link for link in re.findall(r"\]\(([^)]+)\)", readme) if not link.startswith("https://")]
    assert len(links) > 10
    assert [link for link in links if not (REPOSITORY / link).exists()] == []


def test_every_config_of_the_repository_is_valid():
    paths = sorted((REPOSITORY / "rsr_tf" / "configs").rglob("*.toml"))
    assert paths
    for path in paths:
        load_config(path)
        assert path.read_text().startswith("# "), "the first comment says command, time and result"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed")  # Keras says so for every tf.data set
def test_readme_example_runs_as_it_stands(images, labels, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    example = re.search(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)[1]
    batches = tf.data.Dataset.from_tensor_slices((images, labels)).batch(8)
    names = {
        "my_keras_model": keras.Sequential(
            [keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dense(10)]
        ),
        "train": batches,
        "validation": batches,
        "x_test": images,
        "y_test": labels,
        **{"keras": keras, "rsr_tf": rsr_tf},
    }
    assert len(example.strip().splitlines()) == 10
    exec(example.replace("epochs=160", "epochs=1, verbose=0"), names)
    assert names["verdict"]["claim"]["num_images"] == 16
    assert rsr_tf.sparsity(names["rsr"]) == pytest.approx(0.6, abs=0.01)
    assert (tmp_path / "saved_model" / "saved_model.pb").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed")  # Keras says so for every tf.data set
def test_readme_example_of_pruning_runs_as_it_stands(images, labels, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    readme = (REPOSITORY / "README.md").read_text()
    first, *rest = re.search(r"```python\n(model = keras.applications.*?)```", readme, re.DOTALL)[1].splitlines()
    assert first.startswith("model = keras.applications.MobileNetV2(")
    stack = [
        keras.layers.Conv2D(8, 3),
        keras.layers.Flatten(),
        keras.layers.Dense(20),
        keras.layers.Dense(10, "softmax"),
    ]
    model = keras.Sequential([keras.Input((8, 8, 1)), *stack])
    train = tf.data.Dataset.from_tensor_slices((images, labels)).batch(8)
    exec("\n".join(rest), {"model": model, "rsr_tf": rsr_tf, "train": train})
    table = rsr_tf.sparsity_table(keras.models.load_model(tmp_path / "pruned.keras"))
    assert [row.sparsity for row in table] == [0.0, pytest.approx(0.8, abs=1e-3), 0.0]


@pytest.mark.slow
def test_the_cleverhans_page_runs_as_it_stands(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    names = {}
    exec(re.search(r"```python\n(.*?)```", (REPOSITORY / "docs" / "cleverhans.md").read_text(), re.DOTALL)[1], names)
    accuracy = names["accuracy"]
    assert accuracy["clean"] > 0.8
    assert accuracy["PGD"] <= accuracy["FGSM"] + 0.05 < accuracy["clean"]
    assert accuracy["PGD, 10 EOT samples"] <= accuracy["PGD"] + 0.05


@pytest.mark.slow
def test_the_page_of_other_methods_runs_as_it_stands(capsys):
    page = (REPOSITORY / "docs" / "rivals.md").read_text()
    example = re.search(r"```python\n(import keras, rsr_tf\n.*?)```", page, re.DOTALL)[1]
    shorter = {
        "epochs=40": "epochs=1",
        "draws=2000": "draws=4",
        "(model), 50": "(model), 2",
        '"steps": 10': '"steps": 1',
    }
    for long, short in shorter.items():
        assert long in example
        example = example.replace(long, short)
    exec(example, {})
    assert "'certified'" in capsys.readouterr().out
