"""A SavedModel as its user meets it: in another process, without this package."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import enclosing_network, quantized_network, silence, tiny_network

import rsr_tf

DRAWS = 400
LOAD = f"""
import sys
sys.modules["rsr_tf"] = None
import numpy as np, tensorflow as tf
folder = sys.argv[1]
loaded = tf.saved_model.load(folder + "/saved_model")
images = np.load(folder + "/images.npy")
np.savez(
    sys.argv[2],
    deterministic=loaded.serve_deterministic(images),
    first=loaded.serve(images),
    second=loaded.serve(images),
    signature=next(iter(loaded.signatures["serving_default"](pixels=tf.constant(images)).values())),
    draws=[loaded.serve(images) for _ in range({DRAWS})],
    one=loaded.serve_deterministic(images[:1]),
    names=sorted(loaded.signatures),
)
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The answers of two processes that load one SavedModel, and those of the network here, stripped and noisy."""
    folder = tmp_path_factory.mktemp("export")
    keras.utils.set_random_seed(0)
    model = tiny_network()
    rsr_tf.prune(model, sparsity=0.5)
    images = np.random.default_rng(0).uniform(size=(16, 8, 8, 1)).astype("float32")
    np.save(folder / "images.npy", images)
    rsr_tf.export_saved_model(model, folder / "saved_model", metadata={"classes": ["a"]})
    answers = []
    for number in (1, 2):
        subprocess.run([sys.executable, "-c", LOAD, folder, folder / f"{number}.npz"], check=True, capture_output=True)
        answers.append(dict(np.load(folder / f"{number}.npz")))
    noisy = tf.function(model)
    draws = np.stack([noisy(images) for _ in range(DRAWS)])
    return folder, np.array(rsr_tf.strip(model)(images)), answers, draws


@pytest.mark.slow
def test_deterministic_signature_equals_the_stripped_network(exported):
    _, stripped, answers, _ = exported
    for answer in answers:
        np.testing.assert_allclose(answer["deterministic"], stripped, atol=1e-5)


@pytest.mark.slow
def test_noise_is_new_at_every_call_and_in_every_process(exported):
    """The program that exported it was seeded; neither process follows that seed."""
    draws = [answer[name] for answer in exported[2] for name in ("first", "second", "signature")]
    for index, draw in enumerate(draws):
        assert all(np.abs(draw - other).max() > 1e-4 for other in draws[:index])


@pytest.mark.slow
def test_noisy_signature_is_the_network_and_not_something_else(exported):
    """Mean and deviation of 400 draws in two processes.

    For each of 160 logits the bounds are 6.5 standard errors of the difference of two means, 1e-8 in all, and half or
    twice the deviation, some ten standard errors.
    """
    served, draws = exported[2][0]["draws"], exported[3]
    error = np.sqrt((served.var(axis=0) + draws.var(axis=0)) / DRAWS)
    assert np.all(np.abs(served.mean(axis=0) - draws.mean(axis=0)) < 6.5 * error)
    ratio = served.std(axis=0) / draws.std(axis=0)
    assert ratio.min() > 0.5
    assert ratio.max() < 2


@pytest.mark.slow
def test_number_of_images_is_free(exported):
    _, stripped, answers, _ = exported
    np.testing.assert_allclose(answers[0]["one"], stripped[:1], atol=1e-5)


@pytest.mark.slow
def test_signatures_have_their_names(exported):
    assert set(exported[2][0]["names"]) == {"serve", "serve_deterministic", "serving_default"}


@pytest.mark.slow
def test_weights_lie_in_it_once(exported):
    """What both signatures have in common is most of it; noise scales and masks come on top, the optimizer does not."""
    model = tiny_network()
    weights = sum(keras.ops.convert_to_numpy(variable).nbytes for variable in model.weights)
    values = exported[0] / "saved_model" / "variables" / "variables.data-00000-of-00001"
    checkpoint = tf.train.load_checkpoint(values.with_name("variables"))
    kept = [checkpoint.get_tensor(name) for name in checkpoint.get_variable_to_shape_map() if "VARIABLE_VALUE" in name]
    assert sum(array.nbytes for array in kept) == weights


def test_weights_under_a_mask_that_are_not_zero_are_kept_for_each_signature(noisy_model, images, tmp_path):
    """`prune` makes them zero; here the mask alone is set, and the signatures still do what they say."""
    mask = np.random.default_rng(0).uniform(size=(3, 3, 4, 4)) < 0.5
    noisy_model.layers[2].mask.assign(mask)
    silence(noisy_model)
    rsr_tf.export_saved_model(noisy_model, tmp_path / "saved_model")
    loaded = tf.saved_model.load(str(tmp_path / "saved_model"))
    for endpoint in (loaded.serve, loaded.serve_deterministic):
        np.testing.assert_allclose(endpoint(images), rsr_tf.strip(noisy_model)(images), atol=1e-5)


@pytest.mark.slow
def test_calls_in_one_graph_draw_different_noise(exported, images):
    """As attacks that average over the noise make them; the parts of a graph that do the same may not be merged."""
    loaded = tf.saved_model.load(str(exported[0] / "saved_model"))

    @tf.function
    def calls():
        return tf.stack([loaded.serve(images) for _ in range(3)]), tf.map_fn(
            lambda _: loaded.serve(images), tf.zeros(3)
        )

    answers = np.concatenate([answer for _ in range(2) for answer in calls()])
    assert len({answer.tobytes() for answer in answers}) == 12


@pytest.mark.slow
def test_requests_at_the_same_time_get_different_noise(exported, images):
    loaded = tf.saved_model.load(str(exported[0] / "saved_model"))
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: loaded.serve(images).numpy().tobytes(), range(100)))
    assert len(set(answers)) == 100


@pytest.mark.slow
def test_session_of_tensorflow_1_as_in_older_servers_draws_noise(exported, images):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        graph = tf.compat.v1.saved_model.load(session, ["serve"], str(exported[0] / "saved_model"))
        signature = graph.signature_def["serving_default"]
        ((_, pixels),), ((_, logits),) = signature.inputs.items(), signature.outputs.items()
        answers = {session.run(logits.name, {pixels.name: images}).tobytes() for _ in range(10)}
    assert len(answers) == 10


@pytest.mark.slow
def test_without_random_numbers_of_the_operating_system_noise_is_refused(noisy_model, images, tmp_path):
    """A name of the same length stands for the file that Windows lacks."""
    rsr_tf.export_saved_model(noisy_model, tmp_path / "saved_model")
    graph = tmp_path / "saved_model" / "saved_model.pb"
    graph.write_bytes(graph.read_bytes().replace(b"/dev/urandom", b"/dev/missing"))
    loaded = tf.saved_model.load(str(tmp_path / "saved_model"))
    with pytest.raises(tf.errors.NotFoundError, match="/dev/missing"):
        loaded.serve(images)
    np.testing.assert_allclose(loaded.serve_deterministic(images), rsr_tf.strip(noisy_model)(images), atol=1e-5)


@pytest.mark.slow
def test_noise_policy_lies_beside_the_network(exported):
    metadata = json.loads((exported[0] / "saved_model" / "rsr_tf.json").read_text())
    assert metadata["noisy"] is True
    assert "seeded anew each time with 191 bits from the operating system" in metadata["noise_policy"]
    assert metadata["classes"] == ["a"]


def test_network_without_noise_says_so(tmp_path):
    rsr_tf.export_saved_model(tiny_network(noise="none"), tmp_path / "saved_model")
    metadata = json.loads((tmp_path / "saved_model" / "rsr_tf.json").read_text())
    assert metadata["noisy"] is False
    assert "without noise" in metadata["noise_policy"]


def test_existing_folder_is_left_alone(noisy_model, tmp_path):
    (tmp_path / "kept").write_text("mine")
    with pytest.raises(ValueError, match="`path` must not exist yet"):
        rsr_tf.export_saved_model(noisy_model, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


@pytest.mark.slow
def test_quantized_network_keeps_its_values_and_its_gradient(images, tmp_path):
    """Attacks on it need the straight-through gradient.

    Medians are compared, as rounding in float32 may move a value near the middle of two levels to the other one.
    """
    model = quantized_network(bits=3, ceiling=1.0, noise="none")
    rsr_tf.export_saved_model(model, tmp_path / "exported")
    loaded = rsr_tf.as_model_fn(tmp_path / "exported", endpoint="serve_deterministic")
    answers, gradients = [], []
    for model_fn in (rsr_tf.as_model_fn(model), loaded):
        pixels = tf.constant(images)
        with tf.GradientTape() as tape:
            tape.watch(pixels)
            answers.append(model_fn(pixels))
            loss = tf.reduce_sum(answers[-1][:, 0])
        gradients.append(np.array(tape.gradient(loss, pixels)))
    assert np.median(np.abs(answers[0] - answers[1])) < 1e-5
    assert np.median(np.abs(gradients[0] - gradients[1])) < 1e-5 < 1e-3 < np.median(np.abs(gradients[0]))


def test_noise_that_no_signature_can_do_without_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match=r"`model` has noise inside .* Received: noise in branches/noisy"):
        rsr_tf.export_saved_model(enclosing_network(), tmp_path / "saved_model")
    assert list(tmp_path.iterdir()) == []
