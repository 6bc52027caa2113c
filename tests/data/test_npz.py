import numpy as np
import pytest

from rsr_tf.data import load, npz


def arrays(count=10, dtype="float32"):
    x = np.random.default_rng(0).uniform(0, 255 if dtype == "uint8" else 1, (count, 4, 4, 2)).astype(dtype)
    return {"x_train": x, "y_train": np.arange(count) % 3, "x_test": x[:4], "y_test": np.arange(4) % 3}


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_npz_is_read(tmp_path, dtype):
    content = arrays(dtype=dtype)
    np.savez(tmp_path / "flowers.npz", **content)
    data_set = load("npz", directory=str(tmp_path / "flowers.npz"), validation=0.2)
    assert (data_set.title, data_set.class_names) == ("flowers", ("0", "1", "2"))
    assert (len(data_set.train), len(data_set.validation)) == (8, 2)
    assert data_set.train.images.dtype == ("uint8" if dtype == "uint8" else "float32")
    assert data_set.test.labels.dtype == np.int32
    scale = 255 if dtype == "uint8" else 1
    np.testing.assert_allclose(data_set.test.pixels(), content["x_test"] / scale, rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"x_train": np.zeros((10, 4, 4))}, r"images \(10, 4, 4\) and labels \(10,\)"),
        ({"y_train": np.zeros((10, 3), "int32")}, r"labels \(10, 3\)"),
        ({"y_train": np.zeros(10)}, "uint8 or float and labels of integers. Received: .* and float64"),
        ({"x_train": np.zeros((10, 4, 4, 2), bool)}, "Received: bool and int64"),
        ({"y_test": np.zeros(3, "int32")}, r"images \(4, 4, 4, 2\) and labels \(3,\)"),
        (
            {"x_test": np.zeros((0, 4, 4, 2)), "y_test": np.zeros(0, int)},
            r"at least one. Received: images \(0, 4, 4, 2\)",
        ),
        ({"x_test": np.zeros((4, 6, 6, 2))}, r"of one shape. Received: \(4, 4, 2\) and \(6, 6, 2\)"),
        ({"y_train": np.arange(10) + 2**40}, r"labels must be in \[0, 100000\). Received: labels from 1099511627776"),
        ({"y_train": np.arange(10) - 1}, "Received: labels from -1 to 8"),
    ],
)
def test_npz_with_arrays_of_the_wrong_kind_is_refused(tmp_path, changes, finding):
    np.savez(tmp_path / "own.npz", **arrays() | changes)
    with pytest.raises(ValueError, match=rf"own.npz`.*{finding}"):
        load("npz", directory=tmp_path / "own.npz")


def test_npz_without_an_array_names_it(tmp_path):
    content = arrays()
    del content["y_test"]
    np.savez(tmp_path / "own.npz", **content)
    with pytest.raises(ValueError, match=r"with the arrays x_train, y_train, x_test, y_test\. .*y_test"):
        load("npz", directory=tmp_path / "own.npz")


@pytest.mark.parametrize("content", ["text", "nothing", "one array", "half"])
def test_npz_of_something_else_is_refused(tmp_path, content):
    path = tmp_path / "own.npz"
    np.savez(path, **arrays())
    half = path.read_bytes()[: path.stat().st_size // 2]
    if content == "one array":
        np.save(tmp_path / "one.npy", np.zeros(3))
        path.write_bytes((tmp_path / "one.npy").read_bytes())
    else:
        path.write_bytes({"text": b"not an archive", "nothing": b"", "half": half}[content])
    with pytest.raises(ValueError, match=r"own\.npz` must be an \.npz file with the arrays x_train, y_train"):
        load("npz", directory=path)


@pytest.mark.parametrize("directory", [None, "/nowhere/own.npz", "/"])
def test_missing_npz_is_refused_with_the_required_arrays(directory):
    with pytest.raises(FileNotFoundError, match=r"`directory` must be the path of an \.npz file with x_train"):
        load("npz", directory=directory)


@pytest.mark.parametrize("shape", [(10, 0, 4, 2), (10, 4, 4, 0), (10, 0, 0, 0)])
def test_images_without_a_pixel_are_refused_with_the_file(tmp_path, shape):
    np.savez(tmp_path / "own.npz", **arrays() | {"x_train": np.zeros(shape), "x_test": np.zeros((4, *shape[1:]))})
    with pytest.raises(ValueError, match=rf"own\.npz`.* Received: images \(10, {shape[1]}"):
        load("npz", directory=tmp_path / "own.npz")


def test_npz_of_objects_runs_nothing(tmp_path):
    np.savez(tmp_path / "own.npz", **arrays() | {"y_test": np.array([{}, 1, "a", load], object)})
    with pytest.raises(ValueError, match=r"own\.npz: its array y_test is not one of numbers: object"):
        load("npz", directory=tmp_path / "own.npz")


def test_shapes_are_refused_before_the_arrays_are_unpacked(tmp_path, monkeypatch):
    def never(*args, **options):
        raise AssertionError("unpacked")

    monkeypatch.setattr(npz, "read_arrays", never)
    np.savez(tmp_path / "own.npz", **arrays() | {"x_test": np.zeros((4, 6, 6, 2))})
    with pytest.raises(ValueError, match="of one shape"):
        load("npz", directory=tmp_path / "own.npz")


@pytest.mark.parametrize("name", ["npz", "cifar10"])
def test_home_of_an_unknown_user_is_one_line(name):
    with pytest.raises(ValueError, match="`~nosuchuser123/x` names the home directory of an unknown user"):
        load(name, directory="~nosuchuser123/x")


@pytest.mark.parametrize("name", ["npz", "cifar10"])
def test_path_that_no_file_can_have_is_an_error_of_the_operating_system(name):
    with pytest.raises(OSError, match="File name too long"):
        load(name, directory="x" * 5000)


def test_images_of_zeros_and_ones_are_no_pixels_of_uint8(tmp_path):
    """They would be nearly black, and a network would train on them without a word."""
    x = np.eye(4, dtype="uint8")[np.newaxis, ..., np.newaxis].repeat(10, axis=0)
    np.savez(tmp_path / "own.npz", **arrays() | {"x_train": x, "x_test": x[:4]})
    with pytest.raises(ValueError, match=r"own\.npz`: images of uint8 are .* Received: no pixel above 1"):
        load("npz", directory=tmp_path / "own.npz")


def test_floats_that_were_divided_by_255_twice_are_refused(tmp_path):
    content = arrays()
    for name in ("x_train", "x_test"):
        content[name] = content[name] / 255
    np.savez(tmp_path / "own.npz", **content)
    with pytest.raises(
        ValueError, match=r"own\.npz`: images of floats are pixels from 0 to 1\. Received: none above 1/255"
    ):
        load("npz", directory=tmp_path / "own.npz")
