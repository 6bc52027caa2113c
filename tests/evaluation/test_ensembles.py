"""RSE and PixelDP predict by a mean over draws, and it is this mean that the evaluations attack and judge."""

import keras
import numpy as np
import pytest

from rsr_tf.attacks import ensemble
from rsr_tf.evaluation import as_model_fn, evaluate_whitebox, run_suite
from rsr_tf.layers import FeatureNoise

EPSILON, STD = 0.08, 0.2
ATTACK = {"epsilon": EPSILON, "step_size": EPSILON / 2, "steps": 4}


@pytest.fixture(scope="module")
def problem():
    """A linear network of two classes with noise on its pixels, images, labels, and which images are robust.

    Its mean over many draws is right where the linear network is, so the worst case is known. No image is so near to
    the boundary, before or after the attack, that a mean over 60 draws would be decided by chance.
    """
    random = np.random.default_rng(0)
    weights = random.normal(size=(36, 2)).astype("float32")
    direction = weights[:, 0] - weights[:, 1]
    images = random.uniform(0.1, 0.9, (4000, 6, 6, 1)).astype("float32")
    logits = (images.reshape(-1, 36) - 0.5) @ direction
    labels = np.where(np.arange(len(images)) % 8 > 0, logits < 0, logits > 0).astype("int32")  # one of eight is wrong
    margins = logits * np.where(labels == 0, 1, -1)
    worst = margins - EPSILON * np.abs(direction).sum()
    clear = np.minimum(np.abs(margins), np.abs(worst)) > 0.5 * STD * np.linalg.norm(direction)
    inputs = keras.Input((6, 6, 1))
    dense = keras.layers.Dense(2)
    model = keras.Model(inputs, dense(keras.layers.Flatten()(FeatureNoise(STD, seed=0)(inputs))))
    dense.set_weights([weights, -0.5 * weights.sum(0)])
    kinds = (clear & (worst > 0), clear & (margins > 0) & (worst < 0), clear & (margins < 0))
    kept = random.permutation(np.concatenate([np.flatnonzero(kind)[:33] for kind in kinds]))
    assert len(kept) == 99
    return as_model_fn(model), images[kept], labels[kept], (margins > 0)[kept], (worst > 0)[kept]


@pytest.mark.slow
def test_white_box_accuracy_of_an_ensemble_is_that_of_its_mean(problem):
    model_fn, images, labels, right, robust = problem
    alone = evaluate_whitebox(model_fn, images, labels, repeats=1, batch_size=99, **ATTACK)
    scores = evaluate_whitebox(ensemble(model_fn, 60), images, labels, repeats=1, batch_size=99, **ATTACK)
    assert scores["clean"].mean == pytest.approx(right.mean(), abs=0.01)
    assert scores["pgd"].mean == pytest.approx(robust.mean(), abs=0.01)
    assert scores["clean"].mean > alone["clean"].mean + 0.02


@pytest.mark.slow
def test_suite_judges_an_ensemble_as_a_network(problem):
    model_fn, images, labels, right, robust = problem
    options = {"epsilon": EPSILON, "num_images": 20, "batch_size": 20, "predictions": 3, "ensemble": 16}
    verdict = run_suite(ensemble(model_fn, 16), images[:20], labels[:20], **options)
    assert verdict["parameters"]["random"] == {"noise_on": True}
    assert verdict["parameters"]["ensemble"] == 16
    assert {row["parameters"].get("eot_samples", 1) for row in verdict["attacks"]} == {1, 2}  # at most 32 draws
    assert verdict["claim"]["predictions"] == 3
    assert verdict["by_noise"]["noise_on"]["clean"]["accuracy"] == pytest.approx(right[:20].mean(), abs=0.06)
    assert verdict["claim"]["accuracy"] == pytest.approx(robust[:20].mean(), abs=0.06)
