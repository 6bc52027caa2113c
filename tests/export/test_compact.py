"""The compact archive: small, bit for bit the same network, and deaf to what is no archive."""

import json
import resource
import tracemalloc
import zipfile

import keras
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from helpers import compiled, tiny_network

import rsr_tf
from rsr_tf.export.compact import VALUES, decode, encode


def bits(model):
    """Every variable of a model, seeds included, as `(type, shape, bytes)`."""
    arrays = [keras.ops.convert_to_numpy(variable) for variable in model.variables]
    return [(array.dtype, array.shape, array.tobytes()) for array in arrays]


def there_and_back(model, path, **options):
    rsr_tf.save_compact(model, path)
    return rsr_tf.load_compact(path, **options)


def awkward_values():
    """Negative zeros, infinities, subnormal numbers, and a NaN whose payload means something to someone."""
    values = np.zeros(64, np.float32)
    values[[1, 5, 9]] = -0.0
    values[[2, 7]] = np.inf, -np.inf
    values[3] = 1e-42
    values.view(np.uint32)[[11, 12]] = 0x7FC0BEEF, 0xFFC00001
    return values.reshape(4, 16)


@pytest.mark.parametrize(
    "array",
    [
        awkward_values(),
        awkward_values().astype(ml_dtypes.bfloat16),
        awkward_values().astype(np.float16),
        np.arange(-30, 30, dtype=np.int8).reshape(3, 20),
        np.array([2**63, 0, 0, 0, 0, 0, 0, 0, 0], np.uint64),
        np.array([[True, False, True]] * 7),
        np.zeros((3, 5), np.float32),
        np.full((3, 5), -0.0, np.float32),
        np.ones((2, 2), np.float32),
        np.array(7, np.int32),
        np.array(0, np.float32),
        np.zeros((0, 4), np.float32),
        np.zeros(0, bool),
    ],
    ids=lambda array: f"{array.dtype}{list(array.shape)}",
)
def test_array_comes_back_bit_for_bit(array):
    again = decode(encode(array), array.dtype, array.shape)
    assert (again.dtype, again.shape) == (array.dtype, array.shape)
    assert again.tobytes() == array.tobytes()


def test_array_takes_what_its_values_take():
    """By hand: 800 numbers of 4 bytes, 80 of them not zero."""
    array = np.zeros(800, np.float32)
    array[::10] = 1
    assert {kind: len(piece) for kind, piece in encode(array).items()} == {"mask": 100, "values": 320}
    array[1] = -0.0
    assert {kind: len(piece) for kind, piece in encode(array).items()} == {"mask": 100, "values": 320, "signs": 90}
    assert {kind: len(piece) for kind, piece in encode(array != 0).items()} == {"bits": 100}
    assert {kind: len(piece) for kind, piece in encode(array + 1).items()} == {"dense": 3200}


@pytest.mark.parametrize("piece", ["mask", "values"])
def test_piece_of_the_wrong_length_is_refused(piece):
    pieces = encode(awkward_values())
    with pytest.raises(ValueError, match=r"bytes cannot hold (64 bits|5 numbers of 4 bytes)"):
        decode({**pieces, piece: pieces[piece][:-1]}, np.float32, (4, 16))


def test_noisy_network_comes_back_bit_for_bit(images, tmp_path):
    """Weights, noise scales, masks and the states of all seeds, that of the attack included: the noise goes on."""
    network = tiny_network()
    attack = rsr_tf.attacks.PGD(epsilon=0.1, step_size=0.05, steps=2)
    model = compiled(rsr_tf.RSRModel(network.inputs, network.outputs, attack=attack, seed=3))
    model(images)
    model.seed_generator.next()
    rsr_tf.prune(model, sparsity=0.6)
    again = there_and_back(model, tmp_path / "network.rsrz")
    assert type(again) is rsr_tf.RSRModel
    assert bits(again) == bits(model)
    assert not again.compiled
    np.testing.assert_array_equal(again(images), model(images))
    np.testing.assert_array_equal(again(images), model(images))


def test_stock_network_comes_back_bit_for_bit(images, tmp_path):
    """Shared and nested layers, integer variables, layers with seeds, adapted statistics, mixed precision."""
    inner = keras.Sequential([keras.Input((8, 8, 2)), keras.layers.DepthwiseConv2D(3), keras.layers.Flatten()])
    shared = keras.layers.Conv2D(2, 3, padding="same", dtype="mixed_bfloat16")
    normalize = keras.layers.Normalization()
    normalize.adapt(images)
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.RandomFlip(seed=1)(normalize(inputs))
    x = keras.layers.Concatenate()([x, x])
    x = keras.layers.BatchNormalization()(shared(shared(x)))
    x = keras.layers.Dropout(0.5)(inner(x))
    model = keras.Model(inputs, keras.layers.Dense(10, dtype="bfloat16")(x))
    compiled(model)(images, training=True)
    again = there_and_back(model, tmp_path / "network.rsrz")
    assert bits(again) == bits(model)
    np.testing.assert_array_equal(again(images), model(images))


def test_own_layer_is_found_by_custom_objects(tmp_path):
    class Half(keras.layers.Layer):
        def call(self, inputs):
            return inputs / 2

    model = keras.Sequential([keras.Input((3,)), Half(), keras.layers.Dense(2)])
    again = there_and_back(model, tmp_path / "network.rsrz", custom_objects={"Half": Half})
    np.testing.assert_array_equal(again(np.ones((1, 3))), model(np.ones((1, 3))))
    with pytest.raises(ValueError, match="`path` must be a compact archive"):
        rsr_tf.load_compact(tmp_path / "network.rsrz")


def test_one_network_gives_one_file(noisy_model, tmp_path):
    for name in ("one", "two"):
        rsr_tf.save_compact(noisy_model, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "sparsity", "limit"), [("resnet20", 0.6, 0.45), ("vgg16", 0.5, 0.55), ("resnet18", 0.85, 0.20)]
)
def test_archive_is_small(tmp_path, build, sparsity, limit):
    """Against the dense float32 weights; the width leaves the shares of the network about as they are."""
    model = getattr(rsr_tf.models, build)(width=1.0 if build == "resnet20" else 0.25)
    rsr_tf.prune(model, sparsity=sparsity)
    stripped = rsr_tf.strip(model)
    dense = 4 * sum(int(np.prod(variable.shape)) for variable in stripped.weights)
    for network in (model, stripped):
        rsr_tf.save_compact(network, tmp_path / "network.rsrz")
        assert (tmp_path / "network.rsrz").stat().st_size < limit * dense


def test_mask_of_a_kernel_is_written_once(tmp_path):
    """By hand: one bit a weight for the mask and 4 bytes for each that is left."""
    model = keras.Sequential([keras.Input((80,)), rsr_tf.NoisyDense(100, use_bias=False)])
    rsr_tf.prune(model, sparsity=0.75)
    (layer,) = model.layers
    layer.kernel.assign(np.where(layer.mask, layer.kernel, 0))  # no negative zeros
    rsr_tf.save_compact(model, tmp_path / "network.rsrz")
    with zipfile.ZipFile(tmp_path / "network.rsrz") as archive:
        size = archive.getinfo(VALUES).file_size
    alpha, seed = 4 * 100, 1 + 8  # a new seed is [number, 0], two int64
    threshold, step = 4, 1  # the step is 0: a bit
    assert size == 8000 // 8 + 2000 * 4 + alpha + seed + threshold + step


# What is no archive


@pytest.fixture
def archive(noisy_model, tmp_path):
    path = tmp_path / "network.rsrz"
    rsr_tf.save_compact(noisy_model, path)
    return path


def with_header(path, change):
    """The same archive with another header."""
    with zipfile.ZipFile(path) as old:
        header, values = json.loads(old.read("header.json")), old.read(VALUES)
    with zipfile.ZipFile(path, "w") as new:
        new.writestr("header.json", json.dumps(change(header)))
        new.writestr(VALUES, values)


def test_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        rsr_tf.load_compact(tmp_path / "none.rsrz")


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 nor this"])
def test_foreign_file_is_refused(tmp_path, content):
    (tmp_path / "foreign").write_bytes(content)
    with pytest.raises(ValueError, match=r"`path` must be a compact archive .*Received: .*foreign"):
        rsr_tf.load_compact(tmp_path / "foreign")


def test_keras_file_is_refused(noisy_model, tmp_path):
    noisy_model.save(tmp_path / "network.keras")
    with pytest.raises(ValueError, match=r"`path` must be a compact archive .*There is no item named 'header.json'"):
        rsr_tf.load_compact(tmp_path / "network.keras")


def test_later_version_is_refused(archive):
    with_header(archive, lambda header: {**header, "version": 2})
    with pytest.raises(ValueError, match=r"Received: .*: format version 2 is not supported"):
        rsr_tf.load_compact(archive)


def test_other_values_are_refused(archive):
    with_header(archive, lambda header: {**header, "checksum": "0" * 64})
    with pytest.raises(ValueError, match="wrong checksum"):
        rsr_tf.load_compact(archive)


def test_variables_of_another_network_are_refused(archive):
    with_header(archive, lambda header: {**header, "variables": header["variables"][1:]})
    with pytest.raises(ValueError, match="must have the variables"):
        rsr_tf.load_compact(archive)


def test_broken_archive_is_refused_wherever_it_is_broken(archive, noisy_model):
    """A byte changed anywhere, or the end missing: one line, or a network that is still the same."""
    content, expected = archive.read_bytes(), bits(noisy_model)
    places = [*range(0, len(content), len(content) // 25), *range(len(content) - 150, len(content), 10)]
    broken = [content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :] for place in places]
    answers = []
    for version in [*broken, content[: len(content) // 2], content[:-1]]:
        archive.write_bytes(version)
        try:
            answers.append(bits(rsr_tf.load_compact(archive)) == expected)
        except ValueError as error:
            answers.append(str(error))
    wrong = [answer for answer in answers if answer is not True]
    assert len(wrong) > len(places) // 2
    assert all(answer.startswith("`path` must be a compact archive of a supported version") for answer in wrong)
    assert not any("\n" in answer for answer in wrong)


@pytest.mark.parametrize(
    "layer",
    [
        {"module": "os", "class_name": "system", "config": {"command": "touch was_here"}, "registered_name": None},
        {"module": "builtins", "class_name": "eval", "config": "open('was_here', 'w')", "registered_name": "eval"},
    ],
)
def test_archive_runs_no_code(archive, tmp_path, monkeypatch, layer):
    monkeypatch.chdir(tmp_path)
    with_header(archive, lambda header: {**header, "network": layer})
    with pytest.raises(ValueError, match="`path` must be a compact archive"):
        rsr_tf.load_compact(archive)
    assert not (tmp_path / "was_here").exists()


def test_lambda_is_refused(tmp_path, monkeypatch):
    """An archive of version 0.2.0 may have one."""
    monkeypatch.setattr("rsr_tf.export.compact._check_no_lambda", lambda model: None)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: x + 1)])
    rsr_tf.save_compact(model, tmp_path / "network.rsrz")
    with pytest.raises(ValueError, match=r"`path` must be a compact archive.*[Ll]ambda"):
        rsr_tf.load_compact(tmp_path / "network.rsrz")


def test_layer_with_a_vocabulary_is_refused(tmp_path):
    model = keras.Sequential([keras.Input((1,), dtype="int64"), keras.layers.IntegerLookup(vocabulary=[3, 4])])
    with pytest.raises(ValueError, match=r"Layer `integer_lookup.*` has files .*Received: IntegerLookup"):
        rsr_tf.save_compact(model, tmp_path / "network.rsrz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("model", [keras.layers.Dense(2), keras.Sequential([keras.layers.Dense(2)]), tf.Module()])
def test_what_is_no_built_model_is_refused(tmp_path, model):
    with pytest.raises(ValueError, match="`model` must be a built Keras model"):
        rsr_tf.save_compact(model, tmp_path / "network.rsrz")


def test_failed_writing_leaves_the_old_file(archive, noisy_model, monkeypatch):
    before = archive.read_bytes()

    def fail(*arguments, **options):
        raise OSError("No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", fail)
    with pytest.raises(OSError, match="No space left"):
        rsr_tf.save_compact(noisy_model, archive)
    assert archive.read_bytes() == before
    assert [path.name for path in archive.parent.iterdir()] == [archive.name]


@keras.saving.register_keras_serializable("test_compact")
def doubled(x):
    return 2 * x


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Lambda(lambda x: 2 * x),
        keras.layers.TimeDistributed(keras.layers.Lambda(lambda x: 2 * x)),
        keras.layers.Activation(lambda x: 2 * x),
        keras.Sequential([keras.Input((3, 4)), keras.layers.Dense(2, activation=lambda x: 2 * x)]),
    ],
)
def test_network_with_a_python_lambda_is_refused_when_it_is_saved(layer, tmp_path):
    """`load_compact` runs no code of a file."""
    model = keras.Sequential([keras.Input((3, 4)), layer])
    with pytest.raises(ValueError, match=r"has a Python lambda, which a compact archive cannot hold.*Received: "):
        rsr_tf.save_compact(model, tmp_path / "network.rsrz")
    assert list(tmp_path.iterdir()) == []


def test_weights_that_began_as_an_array_are_stored_once(tmp_path):
    """Such as an embedding of words that others have trained."""
    vectors = np.random.default_rng(0).normal(size=(2000, 50)).astype("float32")
    embedding = keras.layers.Embedding(*vectors.shape, embeddings_initializer=keras.initializers.Constant(vectors))
    model = keras.Sequential([keras.Input((3,), dtype="int32"), embedding])
    loaded = there_and_back(model, tmp_path / "words.rsrz")
    np.testing.assert_array_equal(loaded.get_weights()[0], vectors)
    assert (tmp_path / "words.rsrz").stat().st_size < vectors.nbytes


def test_network_that_could_not_be_read_again_is_refused_when_it_is_saved(tmp_path, monkeypatch):
    monkeypatch.setattr("rsr_tf.export.compact_header.MAX_HEADER", 5_000)
    path = tmp_path / "long.rsrz"
    model = keras.Sequential(
        [keras.Input((1000,)), keras.layers.Normalization(mean=[0.1] * 1000, variance=[2.0] * 1000)]
    )
    with pytest.raises(ValueError, match=r"\A`model` must fit into .* its header has [\d,]+ bytes\Z"):
        rsr_tf.save_compact(model, path)
    assert list(tmp_path.iterdir()) == []


def test_registered_function_is_saved_and_loaded(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Lambda(doubled)])
    rsr_tf.save_compact(model, tmp_path / "network.rsrz")
    np.testing.assert_array_equal(rsr_tf.load_compact(tmp_path / "network.rsrz")(np.ones((1, 4))), np.full((1, 4), 2))


# What is absurd


def small_archive(path, **changes):
    """Write a Dense layer of 12 weights as an archive, with changes to its header and members."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    rsr_tf.save_compact(model, path)
    with zipfile.ZipFile(path) as old:
        header, values = json.loads(old.read("header.json")), old.read(VALUES)
    return header, values


def write_archive(path, header, values):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("header.json", header if isinstance(header, str) else json.dumps(header))
        with file.open(VALUES, "w") as member:
            for part in values:
                member.write(part)


def dense_of(header):
    return next(layer for layer in header["network"]["config"]["layers"] if layer["class_name"] == "Dense")["config"]


def assert_refused_within(path, megabytes, match):
    tracemalloc.start()
    with pytest.raises(ValueError, match=match):
        rsr_tf.load_compact(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < megabytes * 2**20


@pytest.mark.parametrize("units", [20_000_000, 2_000_000_000, 10**15])
def test_network_of_absurd_size_takes_no_memory(tmp_path, units):
    path = tmp_path / "a.rsrz"
    header, values = small_archive(path)
    dense_of(header)["units"] = units
    write_archive(path, header, [values])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="a compact archive of a supported version"):
        rsr_tf.load_compact(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_variable_of_absurd_shape_is_refused_before_it_is_decoded(tmp_path):
    path = tmp_path / "a.rsrz"
    header, _ = small_archive(path)
    kernel = header["variables"][0]
    kernel |= {"shape": [2**32], "pieces": {"mask": [0, 2**29], "values": [0, 0]}}
    write_archive(path, header, [bytes(2**20)] * 512)
    assert_refused_within(path, 20, r"would become 5\d\d,")


@pytest.mark.parametrize("size", [64, 2**20, 40 * 2**20])
def test_values_of_another_size_than_the_header_says_are_not_read(tmp_path, size):
    path = tmp_path / "a.rsrz"
    header, _ = small_archive(path)
    write_archive(path, header, [bytes(size)])
    assert_refused_within(path, 20, "its values should have")


def test_long_header_is_not_read(tmp_path):
    path = tmp_path / "a.rsrz"
    _, values = small_archive(path)
    write_archive(path, "[" + " " * 30 * 2**20 + "]", [values])
    assert_refused_within(path, 70, r"its header has 3\d,\d{3},\d{3} bytes")


@pytest.mark.parametrize("header", ["[" * 100_000, '{"a":' * 400 + "1" + "}" * 400, "[]", "5", "{}", "null", "{"])
def test_header_of_another_kind_is_one_line(tmp_path, header):
    write_archive(tmp_path / "a.rsrz", header, [b""])
    with pytest.raises(ValueError, match=r"\A`path` must be a compact archive .*a\.rsrz': .+\Z"):
        rsr_tf.load_compact(tmp_path / "a.rsrz")


def nested(header):
    network = header["network"]
    for _ in range(40):
        network = {"config": {"layers": [network]}}
    return {**header, "network": network}


def first_variable(header, changes):
    first, *others = header["variables"]
    return {**header, "variables": [{**first, **changes}, *others]}


CHANGES = {
    "twice": (lambda header: {**header, "variables": header["variables"] * 2}, "is listed twice"),
    "nested": (nested, "nested too deep"),
    "unknown layer": (
        lambda header: {**header, "variables": [*header["variables"], {**header["variables"][0], "owner": 77}]},
        "there is no layer 77",
    ),
    "negative place": (
        lambda header: first_variable(header, {"pieces": {"dense": [-48, 48]}}),
        "greater than or equal to 0",
    ),
    "text as type": (
        lambda header: first_variable(header, {"dtype": "string"}),
        "is of string",
    ),
    "unknown piece": (
        lambda header: first_variable(header, {"pieces": {"sparse": [0, 48]}}),
        "should be 'bits', 'dense'",
    ),
    "short piece": (
        lambda header: first_variable(header, {"pieces": {"dense": [0, 12]}}),
        "12 bytes cannot be the dense of 12 numbers of float32",
    ),
    "owner of a word": (
        lambda header: first_variable(header, {"owner": "kernel"}),
        "header is of another kind",
    ),
    "network of nothing": (lambda header: {**header, "network": {}}, "its network is a dict"),
    "network of a layer": (
        lambda header: {**header, "network": dict(dense_layer())},
        "its network is a Dense",
    ),
}


def dense_layer():
    return keras.saving.serialize_keras_object(keras.layers.Dense(3))


@pytest.mark.parametrize("name", CHANGES)
def test_changed_header_is_refused_in_one_line(tmp_path, name):
    change, message = CHANGES[name]
    header, values = small_archive(tmp_path / "a.rsrz")
    write_archive(tmp_path / "a.rsrz", change(header), [values])
    with pytest.raises(ValueError, match=rf"\A`path` must be a compact archive .*{message}.*\Z"):
        rsr_tf.load_compact(tmp_path / "a.rsrz")


def test_encrypted_archive_is_refused(tmp_path):
    small_archive(tmp_path / "a.rsrz")
    content = bytearray((tmp_path / "a.rsrz").read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    (tmp_path / "a.rsrz").write_bytes(content)
    with pytest.raises(ValueError, match=r"a compact archive of a supported version.*encrypted"):
        rsr_tf.load_compact(tmp_path / "a.rsrz")


def test_refused_archive_leaves_keras_as_it_was(tmp_path):
    """Variables that were never made are not made later, with another network."""
    path = tmp_path / "a.rsrz"
    header, values = small_archive(path)
    write_archive(path, header, [values])
    dense_of(header)["units"] = 10**12
    write_archive(tmp_path / "absurd.rsrz", header, [values])
    with pytest.raises(ValueError, match="must have the variables"):
        rsr_tf.load_compact(tmp_path / "absurd.rsrz")
    assert [weight.shape for weight in rsr_tf.load_compact(path).weights] == [(4, 3), (3,)]
