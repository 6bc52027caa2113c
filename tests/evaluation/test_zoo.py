import json

import numpy as np
import pytest
import tensorflow as tf

from rsr_tf.evaluation import TIERS, ZOOResult, ZOOSettings, run_zoo, zoo_attack
from rsr_tf.evaluation.scores import wilson_interval
from rsr_tf.evaluation.zoo import describe_result

N = 7
RANDOM = np.random.default_rng(0)
WEIGHTS = RANDOM.normal(size=(6, 3)).astype("float32")
IMAGES = RANDOM.uniform(0.3, 0.7, (N, 2, 3, 1)).astype("float32")
LABELS = (IMAGES.reshape(N, 6) @ WEIGHTS).argmax(1).astype("int32")
LABELS[2] = (LABELS[2] + 1) % 3  # wrong from the start


def logits(x):
    return tf.reshape(x, (-1, 6)) @ WEIGHTS


@pytest.fixture(scope="module")
def direct():
    """Attack all images in one call, without a table."""
    return zoo_attack(logits, IMAGES, LABELS, settings=TIERS[1], group=N)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    state = tmp_path_factory.mktemp("zoo") / "state"
    return run_zoo({"noise_off": logits}, IMAGES, LABELS, tier=1, group=3, state=state), state


@pytest.mark.slow
def test_column_is_the_attack_itself_whatever_the_groups(table, direct):
    column = table[0]["columns"]["off"]
    wanted = describe_result(direct)
    assert {key: column[key] for key in wanted} == wanted
    assert 0 < column["success"]["images"] < N


@pytest.mark.slow
def test_shares_have_both_denominators(table):
    column = table[0]["columns"]["off"]
    hits = column["success"]["images"]
    assert column["attacked"] == N - 1
    assert column["success"]["of_all"] == {
        "mean": hits / N,
        "interval": list(wilson_interval(hits / N, N)),
        "num_images": N,
    }
    assert column["success"]["of_attacked"]["num_images"] == N - 1


@pytest.mark.slow
def test_network_without_noise_is_broken_in_every_draw_or_none(table):
    column = table[0]["columns"]["off"]
    assert column["predictions"] == 1
    assert column["success_in_majority"] == column["success"]
    assert column["correct_predictions"] == [0] * column["success"]["images"]


@pytest.mark.slow
def test_stopped_attack_resumes_after_the_last_group(table):
    found, state = table
    calls = []

    def counted(x):
        calls.append(len(x))
        return logits(x)

    (state / "off" / "images_3_to_6.npz").unlink()
    again = run_zoo({"noise_off": counted}, IMAGES, LABELS, tier=1, group=3, state=state)
    part = found["images"][3:6]
    of_one_group = sum(zoo_attack(logits, IMAGES[part], LABELS[part], settings=TIERS[1], indices=part).queries)
    for column in (found["columns"]["off"], again["columns"]["off"]):
        for timing in ("seconds", "expected_seconds"):
            column.pop(timing)
    assert again == found
    measuring = sum(size for size in calls if size == 3 * 13)
    assert sum(calls) - measuring < of_one_group + 20
    assert sum(calls) >= of_one_group


@pytest.mark.slow
def test_attack_of_more_images_starts_with_those_of_fewer(tmp_path):
    calls = []

    def counted(x):
        calls.append(len(x))
        return logits(x)

    def attack(n, state):
        calls.clear()
        found = run_zoo({"noise_off": counted}, IMAGES, LABELS, tier=1, num_images=n, group=2, state=state)
        for timing in ("seconds", "expected_seconds"):
            found["columns"]["off"].pop(timing)
        return found, sum(calls)

    fingerprint = 20 * N  # images in the calls that tell whether it is the same network
    whole, cost = attack(6, None)
    part, cost_of_part = attack(4, tmp_path / "state")
    assert part["images"] == whole["images"][:4]
    rest, cost_of_rest = attack(6, tmp_path / "state")
    assert rest == whole
    assert cost_of_rest < cost - cost_of_part + 300 + 2 * fingerprint
    again, cost_of_none = attack(4, tmp_path / "state")
    assert again == part
    assert cost_of_none < 150 + fingerprint, "what it takes to time a call"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"identity": "other"}, "`network` is None there and other here"),
        ({"images": IMAGES * 0.999}, "`pixels` is"),
        ({"labels": 2 - LABELS}, "`pixels` is"),
        ({"group": 2}, "`group` is 3 there and 2 here"),
        ({"seed": 1}, "`settings.seed` is 0 there and 1 here"),
        ({"tier": 2}, "`settings.binary_steps` is 1 there and 9 here"),
    ],
)
def test_state_of_another_attack_is_refused(table, change, difference):
    arguments = {"images": IMAGES, "labels": LABELS, "tier": 1, "group": 3, "state": table[1]}
    with pytest.raises(ValueError, match=f"belongs to another evaluation: {difference}"):
        run_zoo({"noise_off": logits}, **arguments | change)


def test_images_in_any_order_of_memory_are_taken():
    found = run_zoo({"noise_off": logits}, IMAGES[::2], LABELS[::2], tier=1, num_images=2)
    turned = run_zoo({"noise_off": logits}, np.asfortranarray(IMAGES[::2]), LABELS[::2].copy(), tier=1, num_images=2)
    assert found["columns"]["off"]["success"] == turned["columns"]["off"]["success"]


@pytest.mark.slow
def test_attack_resumed_with_more_images_has_the_same_noise(tmp_path):
    """Of 5 images in groups of 2 the last is alone and of 7 it is not, so it is attacked again; the end is the same."""
    noise = tf.Variable(0, dtype=tf.int64)

    def noisy(x):
        return logits(x) + 0.1 * tf.random.stateless_normal((3,), tf.stack([noise.assign_add(1), 0]))

    def attack(n, state):
        options = {"columns": ["shared"], "predictions": 5, "reseed": noise.assign, "state": state}
        found = run_zoo({"noise_on": noisy}, IMAGES, LABELS, tier=1, num_images=n, group=2, **options)
        for timing in ("seconds", "expected_seconds"):
            found["columns"]["shared"].pop(timing)
        return found

    whole = attack(7, None)
    attack(5, tmp_path / "state")
    assert attack(7, tmp_path / "state") == whole
    steps = sorted(path.name for path in (tmp_path / "state" / "shared").glob("images*.npz"))
    assert steps == [f"images_{place}.npz" for place in ("0_to_2", "2_to_4", "4_to_5", "4_to_6", "6_to_7")]


def wrong_now_and_then(every):
    """Return a network that is wrong in every n-th call."""
    calls = tf.Variable(0)

    def model_fn(x):
        wrong = tf.cast(calls.assign_add(1) % every == 0, tf.float32)
        return tf.repeat(tf.one_hot(LABELS[:1], 3) * (1 - 2 * wrong), tf.shape(x)[0], axis=0)

    return model_fn


def test_success_by_chance_is_distinguished_from_success():
    """Another class is predicted at some call, but not in a majority of draws."""
    found = run_zoo({"noise_on": wrong_now_and_then(11)}, IMAGES[:1], LABELS[:1], columns=["shared"], predictions=40)
    column = found["columns"]["shared"]
    assert (column["attacked"], column["success"]["images"]) == (1, 1)
    assert column["success_in_majority"]["images"] == 0
    (right,) = column["correct_predictions"]
    assert 35 <= right < 40, "wrong in three or four draws of 40"


@pytest.mark.slow
def test_headline_is_the_column_of_largest_success():
    networks = {"noise_on": wrong_now_and_then(11), "noise_off": wrong_now_and_then(10**6)}
    found = run_zoo(networks, IMAGES[:1], LABELS[:1], columns=["off", "averaged", "shared"])
    assert [column["success"]["images"] for column in found["columns"].values()] == [0, 0, 1]
    assert found["headline"] == "shared"
    assert found["columns"]["averaged"]["settings"]["noise"] == "averaged"


@pytest.mark.slow
def test_slow_column_is_attacked_only_if_it_is_named():
    names = run_zoo({"noise_on": logits, "noise_off": logits}, IMAGES[:1], LABELS[:1])["columns"]
    assert set(names) == {"shared", "averaged", "off"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": ["shared"]}, "`columns` must be among .* Received: 'shared'"),
        ({"tier": 3}, "`tier` must be one of .* Received: tier=3"),
        ({"num_images": 0}, "`num_images` must be an integer of at least 1. Received: num_images=0"),
        ({"predictions": 0}, "`predictions` must be an integer of at least 1"),
        ({"group": 0}, "`group` must be an integer of at least 1"),
        ({"labels": LABELS[:3]}, "equal in number, at least one. Received: 7 and 3"),
    ],
)
def test_invalid_argument_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        run_zoo({"noise_off": logits}, **{"images": IMAGES, "labels": LABELS, **changes})


def test_network_that_rounds_small_steps_away_logs_a_warning(caplog):
    def rounded(x):
        return tf.cast(logits(tf.cast(tf.cast(x, tf.bfloat16), tf.float32)), tf.float32)

    blind = run_zoo({"noise_off": rounded}, IMAGES, LABELS, tier=1, num_images=1)
    assert blind["columns"]["off"]["unseen_steps"] == 1
    assert "change no score" in caplog.text


def test_network_in_float32_sees_the_steps_even_of_black_and_white_images(caplog):
    table = run_zoo({"noise_off": logits}, np.round(IMAGES), LABELS, tier=1, num_images=1)
    assert table["columns"]["off"]["unseen_steps"] == 0
    assert "change no score" not in caplog.text


@pytest.mark.parametrize(("quiet_above", "warned"), [(10, True), (1000, False)])
def test_noise_that_stops_in_the_calls_of_zoo_logs_a_warning(caplog, monkeypatch, quiet_above, warned):
    monkeypatch.setitem(TIERS, 1, ZOOSettings(initial_c=0.5, binary_steps=1, iterations=2))

    def model_fn(x):
        return logits(x) + tf.where(tf.shape(x)[0] > quiet_above, 0.0, 1.0) * tf.random.normal((tf.shape(x)[0], 3))

    run_zoo({"noise_on": model_fn}, IMAGES, LABELS, columns=["shared"], group=2)  # two images of 13 probes
    assert ("depends on the batch size" in caplog.text) == warned


def test_both_denominators_by_hand():
    result = ZOOResult(
        attacked=np.array([True, True, True, True, False]),
        success=np.array([True, True, True, False, False]),
        adversarial=np.zeros((5, 2, 2, 1), "float32"),
        l2=np.array([0.4, 0.6, 0.2, np.nan, np.nan]),
        linf=np.array([0.2, 0.03, 0.01, np.nan, np.nan]),
        queries=np.array([10, 20, 30, 70, 1]),
    )
    summary = json.loads(json.dumps(describe_result(result)))
    assert (summary["num_images"], summary["attacked"], summary["queries"], summary["median_queries"]) == (
        5,
        4,
        131,
        25,
    )
    assert summary["median_l2"] == pytest.approx(0.4)
    for name, hits in (("success", 3), ("success_l2_0.5", 2), ("success_linf_8/255", 2)):
        assert summary[name]["images"] == hits
        for denominator, n in (("of_attacked", 4), ("of_all", 5)):
            assert summary[name][denominator]["mean"] == hits / n
            assert summary[name][denominator]["interval"] == pytest.approx(wilson_interval(hits / n, n))
            assert summary[name][denominator]["num_images"] == n


def test_result_without_a_right_image_has_no_share_of_the_attacked():
    result = zoo_attack(lambda x: np.tile([2.0, 0.0], (len(x), 1)), np.full((2, 4, 4, 1), 0.5), [1, 1])
    summary = json.loads(json.dumps(describe_result(result)))
    assert summary["success"] == {"images": 0, "of_attacked": None, "of_all": summary["success"]["of_all"]}
    assert summary["success"]["of_all"]["mean"] == 0
    assert (summary["median_l2"], summary["median_queries"]) == (None, None)


def test_state_of_another_network_is_refused_without_an_identity(tmp_path, monkeypatch):
    monkeypatch.setitem(TIERS, 1, ZOOSettings(initial_c=0.5, binary_steps=1, iterations=2))
    options = {"num_images": 1, "state": tmp_path / "state"}
    for _ in range(2):
        run_zoo({"noise_off": logits}, IMAGES, LABELS, **options)
    with pytest.raises(ValueError, match="belongs to another network: its logits differ"):
        run_zoo({"noise_off": lambda x: -logits(x)}, IMAGES, LABELS, **options)
