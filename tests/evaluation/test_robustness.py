import json
import logging
import re

import numpy as np
import pytest
import tensorflow as tf

from rsr_tf.evaluation import run_suite
from rsr_tf.evaluation.radii import other_radii
from rsr_tf.report.verdict_page import verdict_view

EPSILON = 0.01


def linear_problem(num_images=120):
    """Return a network of three classes, images, labels, and which images are robust.

    The worst case against each other class moves every pixel by epsilon.
    """
    random = np.random.default_rng(0)
    weights = random.normal(size=(16, 3)).astype("float32")
    weights -= weights.mean(axis=0)
    images = random.uniform(0.4, 0.6, (num_images, 4, 4, 1)).astype("float32")
    labels = (images.reshape(num_images, -1) @ weights).argmax(1).astype("int32")
    labels[::10] = (labels[::10] + 1) % 3
    ahead = weights[:, labels, np.newaxis] - weights[:, np.newaxis]
    margins = np.einsum("ni,inc->nc", images.reshape(num_images, -1), ahead) - EPSILON * np.abs(ahead).sum(0)
    margins[np.arange(num_images), labels] = np.inf
    return lambda x: tf.reshape(x, (-1, 16)) @ weights, images, labels, margins.min(1) > 0


LINEAR = linear_problem()


def evaluate(**options):
    model_fn, images, labels, _ = LINEAR
    return run_suite(model_fn, images, labels, **{"epsilon": EPSILON, "num_images": 100, "batch_size": 100, **options})


@pytest.fixture(scope="module")
def linear():
    return evaluate()


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    """Return the state folder of an evaluation that was stopped halfway."""
    folder, batches = tmp_path_factory.mktemp("evaluation") / "state", []

    def stop(seed):
        batches.append(seed)
        if len(batches) == 17:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(state=folder, reseed=stop)
    return folder


@pytest.mark.slow
def test_claim_for_a_linear_classifier_is_its_exact_worst_case(linear):
    worst = LINEAR[3][linear["parameters"]["images"]]
    assert 0.1 < worst.mean() < linear["by_noise"]["noise_on"]["clean"]["accuracy"] - 0.2
    assert linear["claim"]["accuracy"] == pytest.approx(worst.mean())
    assert linear["claim"]["num_images"] == 100


@pytest.mark.slow
def test_claim_in_l2_is_the_exact_worst_case_and_every_check_passes():
    """The ball is inside of [0,1]: the margin to a class falls by epsilon times the length of the difference."""
    model_fn, images, labels, _ = LINEAR
    scores, weights = np.array(model_fn(images)), np.array(model_fn(np.eye(16).reshape(16, 4, 4, 1).astype("float32")))
    epsilon = 0.03
    steepness = np.linalg.norm(weights[:, labels, np.newaxis] - weights[:, np.newaxis], axis=0)
    margins = scores[np.arange(len(labels)), labels, np.newaxis] - scores - epsilon * steepness
    margins[np.arange(len(labels)), labels] = np.inf
    verdict = evaluate(epsilon=epsilon, norm="l2")
    worst = (margins.min(1) > 0)[verdict["parameters"]["images"]]
    assert 0.1 < worst.mean() < verdict["by_noise"]["noise_on"]["clean"]["accuracy"] - 0.2
    assert verdict["claim"]["accuracy"] == pytest.approx(worst.mean())
    assert [check["sentence"] for check in verdict["checks"] if not check["passed"]] == []
    assert verdict["parameters"]["norm"] == "l2"
    assert {row["parameters"].get("norm", "l2") for row in verdict["attacks"]} == {"l2"}
    assert max(row["largest_distance"] for row in verdict["attacks"] if row["attack"] == "APGD-CE") <= epsilon + 1e-6


@pytest.mark.slow
def test_honest_classifier_passes_every_check(linear):
    assert [check["sentence"] for check in linear["checks"] if not check["passed"]] == []
    assert len(linear["checks"]) >= 12


@pytest.mark.slow
def test_verdict_of_a_suite_is_json_with_every_parameter(linear):
    assert json.loads(json.dumps(linear, allow_nan=False)) == linear
    expected = {"suite": "quick", "epsilon": EPSILON, "norm": "linf", "num_images": 100, "predictions": 20, "seed": 0}
    assert linear["parameters"].items() >= expected.items()
    assert linear["parameters"]["random"] == {"noise_on": False}
    apgd = next(row for row in linear["attacks"] if row["attack"] == "APGD-CE")
    assert apgd["parameters"]["epsilon"] == EPSILON
    assert apgd["parameters"]["steps"] == 20


@pytest.mark.slow
def test_network_without_noise_is_classified_and_differentiated_once(linear):
    assert {row["predictions"] for row in linear["attacks"]} == {1}
    assert {row["parameters"].get("eot_samples", 1) for row in linear["attacks"]} == {1}


@pytest.mark.slow
def test_curve_of_the_check_images_falls_from_clean_accuracy_to_zero(linear):
    rows = {row["attack"]: row for row in linear["attacks"] if row["crafted_on"] == "noise_on"}
    curve = linear["curve"]
    assert [point["epsilon"] for point in curve] == [0.0, *sorted([EPSILON, *other_radii(EPSILON)])]
    assert {point["num_images"] for point in curve} == {100}
    assert curve[0]["accuracy"] == rows["clean"]["accuracy"]
    assert curve[3]["accuracy"] == rows["PGD, one draw"]["accuracy"]
    assert (
        curve[-1]["accuracy"] == rows[f"PGD, one draw, epsilon {255 * curve[-1]['epsilon']:.4g}/255"]["accuracy"] == 0
    )


@pytest.mark.slow
def test_attacks_have_the_subset_of_images_they_ran_on(linear):
    on = {row["attack"]: row["subset"] for row in linear["attacks"]}
    assert (on["clean"], on["FGSM"], on["APGD-CE"]) == ("all", "checks", "still_robust")


@pytest.mark.slow
def test_images_are_drawn_by_the_seed(linear):
    images = linear["parameters"]["images"]
    assert len(set(images)) == 100
    assert images == sorted(images)
    assert set(images) <= set(range(120))
    assert images != list(range(100))


@pytest.mark.slow
def test_claim_attacks_run_only_on_images_that_the_checks_left_robust(linear):
    rows = {row["attack"]: row for row in linear["attacks"]}
    assert rows["APGD-CE"]["num_images"] <= round(100 * rows["clean"]["accuracy"])
    assert rows["clean"]["num_images"] == 100


@pytest.mark.slow
def test_resumed_evaluation_gives_the_same_verdict(linear, state):
    done = {path.name: path.stat().st_mtime_ns for path in state.iterdir()}
    assert 10 < len(done) < 22
    resumed = evaluate(state=state)
    assert done.items() <= {path.name: path.stat().st_mtime_ns for path in state.iterdir()}.items()
    for verdict in (resumed, linear):
        for row in verdict["attacks"]:
            row.pop("seconds", None)
    assert resumed["attacks"] == linear["attacks"]
    assert resumed["claim"] == linear["claim"]
    assert resumed["checks"] == linear["checks"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epsilon": 0.02}, "`epsilon` is 0.01 there and 0.02 here"),
        ({"seed": 1}, "`seed` is 0 there and 1 here"),
        ({"predictions": 10}, "`predictions` is 20 there and 10 here"),
        ({"suite": "paper"}, "`suite` is quick there and paper here"),
        ({"identity": "ab"}, "`network` is None there and ab here"),
        ({"batch_size": 50}, "`batch_size` is 100 there and 50 here"),
        ({"stripped_fn": LINEAR[0]}, "`table.APGD-CE, stripped` is None there"),
        ({"twins": {"float": LINEAR[0]}}, "`table.APGD-CE, float` is None there"),
    ],
)
def test_state_of_other_parameters_is_refused(state, change, message):
    with pytest.raises(ValueError, match=f"belongs to another evaluation: {message}"):
        evaluate(state=state, **change)


@pytest.mark.slow
@pytest.mark.parametrize(("images", "labels"), [(LINEAR[1] * 0.999, LINEAR[2]), (LINEAR[1], 2 - LINEAR[2])])
def test_state_of_other_images_or_labels_is_refused(state, images, labels):
    with pytest.raises(ValueError, match=r"belongs to another evaluation: `test_(images|labels)` is"):
        run_suite(LINEAR[0], images, labels, epsilon=EPSILON, num_images=100, batch_size=100, state=state)


@pytest.mark.slow
def test_state_of_another_network_is_refused(state):
    with pytest.raises(ValueError, match="belongs to another network: its logits differ"):
        run_suite(
            lambda x: 1.01 * LINEAR[0](x), *LINEAR[1:3], epsilon=EPSILON, num_images=100, batch_size=100, state=state
        )


@pytest.mark.slow
def test_evaluation_with_a_twin_resumes_and_notes_another_twin(tmp_path, linear):
    def stop_at_the_twin(seed):
        if any(tmp_path.glob("APGD-DLR,*network,*")):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(twins={"float": LINEAR[0]}, state=tmp_path, reseed=stop_at_the_twin)
    with pytest.raises(ValueError, match="belongs to another network: its logits differ"):
        evaluate(twins={"float": lambda x: 1.01 * LINEAR[0](x)}, state=tmp_path)
    verdict = evaluate(twins={"float": LINEAR[0]}, state=tmp_path)
    on_twin = [row for row in verdict["attacks"] if row["crafted_on"] == "float"]
    assert [row["attack"] for row in on_twin] == ["APGD-CE", "APGD-DLR"]
    assert {row["subset"] for row in on_twin} == {"still_robust"}
    assert [check["name"] for check in verdict["checks"] if not check["passed"]] == []
    assert verdict["claim"] == linear["claim"]
    assert "twins" not in linear["parameters"]


def test_expected_time_is_logged_before_the_first_attack(caplog):
    def stop(seed):
        if any(message.startswith("clean ") for message in caplog.messages):
            raise KeyboardInterrupt

    with caplog.at_level(logging.INFO, "rsr_tf"), pytest.raises(KeyboardInterrupt):
        evaluate(reseed=stop)
    assert caplog.messages[0].startswith("suite quick, 100 images, ")
    assert re.search(r"attacks: \d+ s to \d+ s, by how many images break early$", caplog.messages[0])
    assert caplog.messages[1].startswith("attack  ")
    assert caplog.messages[2].split()[:3] == ["clean", "noise_on", "100"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"suite": "fast"},
            r"`suite` must be one of \('quick', 'standard-random', 'paper', 'full'\)\. Received: suite='fast'",
        ),
        ({"epsilon": 8}, r"`epsilon` must be in \(0, 1\]\. Received: epsilon=8"),
        ({"predictions": 0}, r"`predictions` must be an integer of at least 1\. Received: predictions=0"),
        ({"num_images": 0}, r"`num_images` must be an integer of at least 1\. Received: num_images=0"),
        ({"batch_size": 0}, r"`batch_size` must be an integer of at least 1\. Received: batch_size=0"),
        (
            {"twins": {"a": None, "rescaled": None}},
            r"`twins` must have names other than .*Received: \('a', 'rescaled'\)",
        ),
    ],
)
def test_invalid_argument_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        evaluate(**change)


def test_images_that_are_not_in_0_1_are_refused():
    with pytest.raises(ValueError, match=r"`images` must be in \[0, 1\]\. Received: pixels from 102 to 153"):
        run_suite(LINEAR[0], (255 * LINEAR[1]).round(), LINEAR[2])


def test_labels_of_another_number_are_refused():
    with pytest.raises(ValueError, match=r"equal in number, at least one\. Received: 120 and 119"):
        run_suite(LINEAR[0], LINEAR[1], LINEAR[2][:-1])


@pytest.mark.slow
def test_standard_random_suite_runs_from_the_attacks_to_the_page():
    def noisy(x):
        logits = LINEAR[0](x)
        return logits + 0.02 * tf.random.normal(tf.shape(logits))

    verdict = run_suite(noisy, *LINEAR[1:3], suite="standard-random", epsilon=EPSILON, num_images=10, predictions=5)
    assert {row["attack"] for row in verdict["attacks"]} >= {"APGD-CE", "APGD-DLR"}
    assert "Square" not in {row["attack"] for row in verdict["attacks"]}
    head = {"network": "exported", "data": "toys", "model": "linear", "sparsity": None, "versions": {}}
    assert verdict_view({**head, **verdict})["suite"] == "standard-random"


def test_inputs_that_are_no_images_are_refused_with_the_way_out():
    with pytest.raises(ValueError, match=r"shape \(n, h, w, c\).*`evaluate_whitebox`. Received: shape \(4, 6\)"):
        run_suite(lambda x: x, np.full((4, 6), 0.5), np.zeros(4, int), epsilon=0.1)


def test_numbers_of_numpy_are_those_of_python_in_a_state(tmp_path):
    """It is stopped as soon as the state is written and its first step begins."""

    def stop(seed):
        raise KeyboardInterrupt

    numbers = {"epsilon": np.float32(0.125), "predictions": np.int64(3), "batch_size": np.int32(50)}
    for options in (numbers, {name: number.item() for name, number in numbers.items()}):
        with pytest.raises(KeyboardInterrupt):
            evaluate(state=tmp_path / "state", reseed=stop, **options)
    assert json.loads((tmp_path / "state" / "identity.json").read_text())["predictions"] == 3
