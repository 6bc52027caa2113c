import csv
import io
import json
import re

import numpy as np
import pytest
import tensorflow as tf

from rsr_tf.attacks.pgd import FGSM, PGD
from rsr_tf.evaluation import Square, evaluate_transfer
from rsr_tf.evaluation.scores import wilson_interval
from rsr_tf.report.charts import draw_heat_map

EPSILON, N = 0.05, 37
RANDOM = np.random.default_rng(0)
WEIGHTS = {name: RANDOM.normal(size=(6, 2)).astype("float32") for name in ("first", "second", "third")}
for weights in WEIGHTS.values():
    weights -= weights.mean(axis=0)  # no class is favoured by grey images
IMAGES = RANDOM.uniform(0.2, 0.8, (N, 2, 3, 1)).astype("float32")
LABELS = (IMAGES.reshape(N, 6) @ sum(WEIGHTS.values())).argmax(1).astype("int32")


def model_fn(name):
    return lambda x: tf.reshape(x, (-1, 6)) @ WEIGHTS[name]


def expected(source, target):
    """FGSM on a linear classifier of two classes moves every pixel against the sign of its weight."""
    ahead = WEIGHTS[source][:, LABELS] - WEIGHTS[source][:, 1 - LABELS]
    x_adv = IMAGES.reshape(N, 6) - EPSILON * np.sign(ahead.T)
    return np.mean((x_adv @ WEIGHTS[target]).argmax(1) == LABELS)


@pytest.fixture(scope="module")
def matrix():
    sources = {name: model_fn(name) for name in ("first", "second")}
    targets = {name: model_fn(name) for name in ("second", "third")}
    return evaluate_transfer(
        sources, targets, IMAGES, LABELS, attack=FGSM(epsilon=EPSILON), predictions=2, batch_size=10, seed=5
    )


def test_each_cell_is_the_accuracy_of_the_target_on_images_of_the_source(matrix):
    cells = {(source, target): score.mean for source, row in matrix.scores.items() for target, score in row.items()}
    wanted = {(s, t): expected(s, t) for s in ("first", "second") for t in ("second", "third")}
    clean = {
        ("clean", t): np.mean((IMAGES.reshape(N, 6) @ WEIGHTS[t]).argmax(1) == LABELS) for t in ("second", "third")
    }
    assert cells == pytest.approx({**clean, **wanted})
    assert len(set(cells.values())) > 4, "cells that were swapped would be seen"


def test_scores_have_their_number_of_images_and_draws(matrix):
    score = matrix.scores["first"]["third"]
    assert (score.num_images, len(score.accuracies)) == (N, 2)


def test_json_has_every_score_and_the_parameters(matrix):
    table = json.loads(json.dumps(matrix.as_dict()))
    assert table["accuracy"]["first"]["third"]["mean"] == pytest.approx(expected("first", "third"))
    assert (table["num_images"], table["predictions"], table["seed"]) == (N, 2, 5)
    assert table["attacks"]["first"]["name"] == "FGSM"
    assert table["attacks"]["first"]["epsilon"] == EPSILON


def test_csv_has_a_line_for_each_pair(matrix):
    lines = list(csv.DictReader(io.StringIO(matrix.csv())))
    assert [(line["source"], line["target"]) for line in lines] == [
        (s, t) for s in ("clean", "first", "second") for t in ("second", "third")
    ]
    share = expected("second", "third")
    numbers = [float(lines[5][key]) for key in ("accuracy", "low", "high", "num_images", "predictions")]
    assert numbers == pytest.approx([share, *wilson_interval(share, N), N, 2])


def test_heat_map_names_and_numbers_every_cell(matrix):
    svg = draw_heat_map(json.loads(json.dumps(matrix.as_dict())))
    assert svg.startswith("<svg")
    words = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    for row in matrix.scores.values():
        for score in row.values():
            assert f"{100 * score.mean:.1f}" in words
    for name, times in (("clean", 1), ("first", 1), ("second", 2), ("third", 1), (f"accuracy, % (n={N})", 1)):
        assert words.count(name) == times


def test_heat_map_puts_sources_in_rows_from_the_top():
    means = {"a": {"x": 0.111, "y": 0.222}, "b": {"x": 0.333, "y": 0.444}}
    rows = {source: {target: {"mean": mean} for target, mean in row.items()} for source, row in means.items()}
    svg = draw_heat_map({"accuracy": rows, "num_images": 1})
    place = {
        word: (float(x), float(y))
        for x, y, word in re.findall(r'<text[^>]*x="([\d.]+)" y="([\d.]+)"[^>]*>([^<]*)</text>', svg)
    }
    assert place["11.1"][1] == place["22.2"][1] < place["33.3"][1] == place["44.4"][1]
    assert place["11.1"][0] == place["33.3"][0] < place["22.2"][0] == place["44.4"][0]


def test_random_target_is_scored_with_fresh_noise_on_the_same_images():
    drawn = []

    def random_fn(x):
        drawn.append(x)
        return model_fn("second")(x) + tf.random.normal((2,))

    matrix = evaluate_transfer(
        {"first": model_fn("first")}, {"noise_on": random_fn}, IMAGES, LABELS, attack=PGD(), predictions=8, batch_size=N
    )
    assert len(set(matrix.scores["clean"]["noise_on"].accuracies)) > 1
    assert len(drawn) == 1, "one trace"


def test_images_are_crafted_once_for_all_draws_and_targets():
    calls = []

    def attack(fn, x, labels, *, seed):
        tf.py_function(lambda: calls.append(1), [], [])
        return x + 0.0

    targets = {name: model_fn(name) for name in WEIGHTS}
    matrix = evaluate_transfer({"one": None}, targets, IMAGES, LABELS, attack=attack, predictions=3, batch_size=10)
    assert len(calls) == 4  # batches
    assert matrix.as_dict()["attacks"] == {"one": {"name": "attack"}}
    assert matrix.scores["one"] == matrix.scores["clean"]


def test_seed_repeats_the_random_start_and_batches_differ():
    """A start alone, no step to speak of: the images are what was drawn."""
    shown = []

    def remember(x):
        tf.py_function(lambda pixels: shown.append(pixels.numpy()), [x], [])
        return model_fn("first")(x)

    grey = np.full((20, 2, 3, 1), 0.5, "float32")
    attack = PGD(epsilon=0.1, step_size=1e-6, steps=1)
    for seed in (1, 1, 2):
        evaluate_transfer(
            {"s": model_fn("first")},
            {"t": remember},
            grey,
            np.zeros(20, "int32"),
            attack=attack,
            predictions=1,
            batch_size=10,
            seed=seed,
        )
    runs = [shown[4 * run + 2 : 4 * run + 4] for run in range(3)]  # two batches, clean and then adversarial
    np.testing.assert_array_equal(runs[0], runs[1])
    assert np.abs(runs[0][0] - runs[0][1]).max() > 0.05
    assert np.abs(runs[0][0] - runs[2][0]).max() > 0.05


def test_a_source_named_clean_is_refused():
    with pytest.raises(ValueError, match=r"`sources` must not contain .* Received: 'clean'"):
        evaluate_transfer({"clean": model_fn("first")}, {}, IMAGES, LABELS, attack=FGSM())


@pytest.mark.parametrize(("n_images", "n_labels"), [(0, 0), (5, 4)])
def test_no_images_or_labels_of_another_number_are_refused(n_images, n_labels):
    with pytest.raises(ValueError, match=rf"equal in number, at least one\. Received: {n_images} and {n_labels}"):
        evaluate_transfer({}, {}, IMAGES[:n_images], LABELS[:n_labels], attack=FGSM())


class Counted:
    """Random noise that records each time it is computed."""

    def __init__(self, calls):
        self.calls = calls

    def __call__(self, fn, x, labels, *, seed):
        tf.py_function(lambda: self.calls.append(1), [], [])
        return x + 0.05 * tf.random.stateless_normal(tf.shape(x), seed.next())

    def get_config(self):
        return {}


def test_resumed_evaluation_equals_an_uninterrupted_one(tmp_path):
    """The noise continues from call to call, so a row that did not restart it would differ."""
    noise = tf.Variable(0, dtype=tf.int64)

    def random_fn(x):
        return model_fn("second")(x) + tf.random.stateless_normal((2,), tf.stack([noise.assign_add(1), 0]))

    def evaluate(state, calls):
        sources = {name: model_fn(name) for name in ("first", "second", "third")}
        options = {"attack": Counted(calls), "predictions": 5, "batch_size": N, "state": state, "reseed": noise.assign}
        return evaluate_transfer(sources, {"noise_on": random_fn}, IMAGES, LABELS, **options)

    whole = evaluate(None, [])
    calls = []
    assert evaluate(tmp_path / "state", calls) == whole
    assert len(calls) == 3
    (tmp_path / "state" / "2,_second.npz").unlink()
    assert evaluate(tmp_path / "state", calls) == whole
    assert len(calls) == 4, "the images of one source were crafted again"
    assert len({score.mean for row in whole.scores.values() for score in row.values()}) > 1


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"identity": "other"}, "`networks` is one there and other here"),
        ({"attack": FGSM(epsilon=0.2)}, "`attacks.first.epsilon` is 0.1 there and 0.2 here"),
        ({"targets": {"third": model_fn("third")}}, "`targets"),
        ({"images": IMAGES * 0.999}, "`pixels` is"),
        ({"labels": 1 - LABELS}, "`pixels` is"),
        ({"predictions": 2}, "`predictions` is 1 there and 2 here"),
        ({"seed": 1}, "`seed` is 0 there and 1 here"),
    ],
)
def test_state_of_another_evaluation_is_refused(tmp_path, change, difference):
    arguments = {
        "sources": {"first": model_fn("first")},
        "targets": {"second": model_fn("second")},
        "images": IMAGES,
        "labels": LABELS,
        **{"attack": FGSM(epsilon=0.1), "predictions": 1, "state": tmp_path / "state", "identity": "one"},
    }
    evaluate_transfer(**arguments)
    with pytest.raises(ValueError, match=f"belongs to another evaluation: {difference}"):
        evaluate_transfer(**arguments | change)


def test_attack_without_a_config_keeps_no_state(tmp_path):
    arguments = {"first": model_fn("first")}, {"second": model_fn("second")}, IMAGES, LABELS
    with pytest.raises(ValueError, match="`attack` must have a `get_config`"):
        evaluate_transfer(*arguments, attack=lambda fn, x, labels, *, seed: x, state=tmp_path / "state")
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(("attack", "warned"), [(FGSM(epsilon=0.1), ["flat"]), (Square(queries=2), [])])
def test_source_without_a_gradient_gets_a_warning_if_the_attack_needs_one(attack, warned, images, labels, caplog):
    weights = tf.random.stateless_normal((64, 10), (0, 0))

    def sloped(x):
        return tf.reshape(x, (-1, 64)) @ weights

    sources = {"sloped": sloped, "flat": lambda x: tf.stop_gradient(sloped(x))}
    evaluate_transfer(sources, {"sloped": sloped}, images, labels, attack=attack, predictions=1)
    assert [message.split(":")[0] for message in caplog.messages] == warned


def test_dollars_in_the_name_of_a_network_are_no_formula():
    """Two of them made Matplotlib read the name as mathematics, and fail on an unknown symbol."""
    name = r"$\foo$, noise on"
    svg = draw_heat_map({"accuracy": {name: {name: {"mean": 0.5}}}, "num_images": 1})
    assert svg.count(rf">{name}<") == 2


def test_image_that_an_attack_makes_no_number_is_the_clean_one():
    networks = {"first": model_fn("first")}
    matrix = evaluate_transfer(
        networks, networks, IMAGES, LABELS, attack=lambda fn, x, labels, *, seed: x + np.nan, predictions=1
    )
    assert matrix.scores["first"] == matrix.scores["clean"]


def evaluate_first(folder, **networks):
    """Transfer from a network to itself, or between the given ones, with a state."""
    given = {"sources": {"net": model_fn("first")}, "targets": {"net": model_fn("first")}, **networks}
    return evaluate_transfer(*given.values(), IMAGES, LABELS, attack=FGSM(epsilon=EPSILON), predictions=1, state=folder)


@pytest.mark.parametrize("role", ["sources", "targets"])
def test_state_of_another_network_is_refused_without_an_identity(role, tmp_path):
    evaluate_first(tmp_path / "state")
    with pytest.raises(ValueError, match="belongs to another network: its logits differ"):
        evaluate_first(tmp_path / "state", **{role: {"net": model_fn("second")}})


def test_state_of_a_noisy_network_or_without_fingerprints_is_resumed(tmp_path):
    noisy = {"net": lambda x: model_fn("first")(x) + tf.random.normal((2,))}
    networks = {"sources": noisy, "targets": noisy}
    found = evaluate_first(tmp_path / "state", **networks)
    assert evaluate_first(tmp_path / "state", **networks) == found
    for path in (tmp_path / "state").glob("answers*.npz"):  # earlier versions wrote none
        path.unlink()
    assert evaluate_first(tmp_path / "state", **networks) == found
    assert len(list((tmp_path / "state").glob("answers*.npz"))) == 2


@pytest.mark.parametrize("name", ["predictions", "batch_size"])
def test_number_below_1_is_refused(name):
    arguments = {"first": model_fn("first")}, {"second": model_fn("second")}, IMAGES, LABELS
    with pytest.raises(ValueError, match=f"`{name}` must be an integer of at least 1. Received: {name}=0"):
        evaluate_transfer(*arguments, attack=FGSM(), **{name: 0})
