"""What stands in pyproject.toml, requirements.txt and CITATION.cff; the library without its optional packages."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from helpers import TINY

import rsr_tf
from rsr_tf.config import load_config
from rsr_tf.experiment.experiment import Experiment

pytestmark = pytest.mark.integration

REPOSITORY = Path(__file__).parent.parent
OPTIONAL = (
    *("cleverhans", "matplotlib", "jinja2"),
    *("sklearn", "tensorflow_datasets", "importlib_resources"),
)
WITHOUT = f"import sys\nsys.modules.update(dict.fromkeys({OPTIONAL!r}))\n"
"""Python source after which the optional packages cannot be imported."""


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


def canonical(requirement):
    """Return the name of a requirement as package indices spell it."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


def test_every_requirement_is_pinned(project):
    pinned = {canonical(line) for line in (REPOSITORY / "requirements.txt").read_text().splitlines() if "==" in line}
    extras = project["optional-dependencies"]
    wanted = project["dependencies"] + [name for extra in ("data", "evaluation", "report") for name in extras[extra]]
    assert {canonical(requirement) for requirement in wanted} <= pinned


def test_extra_all_has_all_optional_packages_of_the_library(project):
    assert project["optional-dependencies"]["all"] == ["rsr_tf[data,evaluation,report]"]


def test_citation_has_version_and_licence_of_the_package(project):
    citation = (REPOSITORY / "CITATION.cff").read_text()
    assert f"\nversion: {rsr_tf.__version__}\n" in citation
    assert f"\nlicense: {project['license']}\n" in citation


@pytest.mark.slow
def test_library_prunes_and_trains_without_optional_packages():
    script = f"""{WITHOUT}
import keras, numpy as np, rsr_tf, rsr_tf.evaluation, rsr_tf.experiment
images, labels = np.random.default_rng(0).uniform(size=(8, 8, 8, 1)).astype("float32"), np.arange(8) % 2
small = rsr_tf.models.small_cnn(width=0.125)
model = rsr_tf.RSRModel(small.inputs, small.outputs, attack=rsr_tf.attacks.PGD(epsilon=0.1, step_size=0.1, steps=1))
model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
rsr_tf.prune(model, sparsity=0.5)
model.fit(images, labels, batch_size=8, verbose=0)
print(rsr_tf.sparsity(model))
try:
    rsr_tf.evaluation.evaluate_whitebox(rsr_tf.as_model_fn(model), images, labels, epsilon=0.1, step_size=0.1, steps=1)
except ImportError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    sparsity, message = result.stdout.splitlines()
    assert float(sparsity) == pytest.approx(0.5, abs=0.01)
    assert message.startswith("`cleverhans` cannot be imported")
    assert message.endswith('Install it with: pip install "rsr_tf[evaluation]"')


@pytest.mark.slow
@pytest.mark.parametrize(
    ("missing", "command", "extra"),
    [
        ("cleverhans", ["run"], "evaluation"),
        ("matplotlib", ["run"], "report"),
        ("cleverhans", ["evaluate"], "evaluation"),
        ("jinja2", ["report"], "report"),
        ("sklearn", ["train"], "data"),
    ],
)
def test_missing_package_is_one_line_of_the_command(tmp_path, missing, command, extra):
    (tmp_path / "tiny.toml").write_text(TINY.replace("epochs = 3", "epochs = 1"))
    script = f"""
import sys
from rsr_tf.cli import main
sys.modules["{missing}"] = None
main()
"""
    arguments = [*command, str(tmp_path / "tiny.toml"), "--output", str(tmp_path / "out")]
    if command == ["evaluate"]:  # it needs networks to attack
        quick = ("attack.steps=0", "undefended.epochs=0", "pruning.finetune_epochs=0", "training.deterministic=false")
        arguments += [argument for override in quick for argument in ("--set", override)]
        with Experiment(load_config(tmp_path / "tiny.toml", quick), tmp_path / "out") as experiment:
            experiment.train()
            experiment.prune()
    result = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 2, result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"rsr: `{missing}` cannot be imported")
    assert line.endswith(f'Install it with: pip install "rsr_tf[{extra}]"')


@pytest.mark.slow
@pytest.mark.parametrize(
    "imports",
    [
        "import rsr_tf, keras",
        "import keras, rsr_tf",
        "import rsr_tf; import tensorflow; import keras",
        "from rsr_tf.layers import NoisyDense; import keras",
        "import rsr_tf.keras_internals; import keras",
    ],
)
def test_keras_knows_the_classes_whatever_is_imported_first(imports):
    names = ["RSRModel", "NoisyConvBlock", "PGD", "GroupLasso", "PolynomialDecay"]
    script = f"{imports}\nassert all(keras.saving.get_registered_object('rsr_tf>' + name) for name in {names})"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
