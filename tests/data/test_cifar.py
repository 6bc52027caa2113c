from pathlib import Path

import numpy as np
import pytest

from rsr_tf.data import cifar, decoded_cache, load

CIFAR10 = Path(__file__).parent.parent.parent.parent / "shared" / "tfds"


def test_missing_cifar10_folder_is_refused_with_the_command_to_get_it():
    command = r"python -c \"import tensorflow_datasets as tfds; tfds\.load\('cifar10', data_dir='/nowhere'\)\""
    with pytest.raises(FileNotFoundError, match=f"Received: '/nowhere'. To get one: {command}"):
        load("cifar10", directory="/nowhere")


def test_empty_cifar10_folder_is_refused_with_the_error_of_tfds(tmp_path):
    (tmp_path / "cifar10").mkdir()
    with pytest.raises(FileNotFoundError, match=r"could not be loaded by TFDS; set `directory`.*Received: \w+: "):
        load("cifar10", directory=tmp_path)


@pytest.mark.parametrize(("jpeg", "title"), [(False, "CIFAR-X"), (True, "CIFAR-X (JPEG copy)")])
def test_another_data_set_is_one_row_of_the_table(tmp_path, monkeypatch, jpeg, title):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(cifar.DATA_SETS, "cifar_x", ("CIFAR-X", ("cat", "dog")))
    with pytest.raises(FileNotFoundError, match="must hold a folder `cifar_x` prepared by TFDS"):
        cifar.load("cifar_x", tmp_path)
    (tmp_path / "cifar_x").mkdir()
    images, labels = np.arange(24, dtype="uint8").reshape(2, 2, 2, 3), np.array([1, 0], "int32")
    arrays = {"train_images": images, "train_labels": labels, "test_images": images[:1], "test_labels": labels[:1]}
    decoded_cache.write(tmp_path / "cifar_x", {"jpeg": np.array(jpeg), **arrays})
    found = cifar.load("cifar_x", tmp_path)
    assert (found.title, found.class_names) == (title, ("cat", "dog"))
    np.testing.assert_array_equal(found.train.images, images)
    np.testing.assert_array_equal(found.test.labels, [1])


@pytest.mark.slow
@pytest.mark.skipif(not (CIFAR10 / "cifar10").is_dir(), reason=f"no prepared CIFAR-10 in {CIFAR10}")
def test_prepared_cifar10_is_complete_and_titled_as_a_jpeg_copy():
    data_set = load("cifar10", directory=CIFAR10, validation=0.04)
    assert data_set.title == "CIFAR-10 (JPEG copy)"
    assert data_set.class_names[:3] == ("airplane", "automobile", "bird")
    assert [len(split) for split in (data_set.train, data_set.validation, data_set.test)] == [48000, 2000, 10000]
    for split in (data_set.train, data_set.validation, data_set.test):
        assert split.images.shape == (len(split), 32, 32, 3)
        assert (split.images.dtype, split.labels.dtype) == (np.uint8, np.int32)
        assert len(split) == len(split.labels)
    assert np.bincount(data_set.test.labels).tolist() == [1000] * 10
    mean, std = data_set.pixel_statistics()
    np.testing.assert_allclose(mean, (0.4914, 0.4822, 0.4465), atol=0.01)
    np.testing.assert_allclose(std, (0.2470, 0.2435, 0.2616), atol=0.01)
