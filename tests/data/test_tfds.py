import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tensorflow_data_sets

from rsr_tf.data import StoredImages, load
from rsr_tf.data.tfds import TFRecords

features = tensorflow_data_sets.features
TOYS = {"image": features.Image(shape=(None, None, 3)), "label": features.ClassLabel(names=["ant", "bee", "cat"])}


def write_toys(folder, counts=None, *, file_format="tfrecord", size=6, described=TOYS, name="toys"):
    """Prepare a data set as TFDS does; its pixels name the split and the example."""
    counts = counts or {"train": 20, "test": 6}
    splits = {}
    for index, (split, count) in enumerate(counts.items()):
        images = (
            np.full((count, size, size, 3), 100 * index, "uint8") + np.arange(count, dtype="uint8")[:, None, None, None]
        )
        examples = {"image": images, "label": np.arange(count) % 3}
        splits[split] = tf.data.Dataset.from_tensor_slices({key: examples[key] for key in described if key in examples})
    builder = tensorflow_data_sets.dataset_builders.TfDataBuilder(
        name=name,
        version="1.0.0",
        features=features.FeaturesDict(described),
        split_datasets=splits,
        data_dir=folder,
        description="Toys.",
        file_format=file_format,
    )
    builder.download_and_prepare()
    return folder


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
@pytest.mark.parametrize("cache", ["memory", "stream"])
def test_images_labels_and_classes_are_those_of_tfds(tmp_path, file_format, cache):
    write_toys(tmp_path, file_format=file_format)
    found = load("tfds:toys", directory=tmp_path, validation=0.25, cache=cache)
    assert (found.title, found.class_names, found.image_shape) == ("toys/1.0.0", ("ant", "bee", "cat"), (6, 6, 3))
    assert [len(split) for split in (found.train, found.validation, found.test)] == [15, 5, 6]
    assert isinstance(found.test.images, np.ndarray if cache == "memory" else StoredImages)
    for split, start in ((found.train, 0), (found.validation, 0), (found.test, 100)):
        values = np.asarray(split.images)[:, 0, 0, 0] - start
        assert split.labels.tolist() == (values % 3).tolist()
        assert split.labels.dtype == np.int32
    drawn = [np.asarray(split.images)[:, 0, 0, 0] for split in (found.train, found.validation)]
    assert sorted(np.concatenate(drawn)) == list(range(20))


def test_order_is_that_of_tfds_itself(tmp_path):
    write_toys(tmp_path)
    expected = tensorflow_data_sets.load("toys", data_dir=tmp_path, split="test", shuffle_files=False)
    expected = [example["image"] for example in expected.as_numpy_iterator()]
    np.testing.assert_array_equal(load("tfds:toys", directory=tmp_path).test.images, expected)


def test_own_validation_split_is_kept(tmp_path):
    write_toys(tmp_path, {"train": 9, "test": 6, "validation": 3})
    found = load("tfds:toys", directory=tmp_path)
    assert [len(split) for split in (found.train, found.validation, found.test)] == [9, 3, 6]
    assert sorted(found.validation.images[:, 0, 0, 0]) == [200, 201, 202]


def test_images_are_resized(tmp_path):
    write_toys(tmp_path, size=12)
    assert load("tfds:toys", directory=tmp_path, resize=[4, 5]).image_shape == (4, 5, 3)


def test_labels_and_images_are_read_once_for_each_copy_and_size(tmp_path, monkeypatch):
    write_toys(tmp_path)
    expected = load("tfds:toys", directory=tmp_path)
    monkeypatch.setattr("rsr_tf.data.tfds.Examples.labels", None)
    assert load("tfds:toys", directory=tmp_path, resize=[3, 3]).image_shape == (3, 3, 3)
    monkeypatch.setattr("rsr_tf.data.tfds.StoredImages.gather", None)
    found = load("tfds:toys", directory=tmp_path)
    np.testing.assert_array_equal(found.test.labels, expected.test.labels)
    np.testing.assert_array_equal(found.test.images, expected.test.images)


def test_a_split_for_the_test_is_needed(tmp_path):
    write_toys(tmp_path, {"train": 9, "validation": 3})
    message = r"toys must have the splits `train` and `test`\. Received: \['train', 'validation'\]"
    with pytest.raises(ValueError, match=message):
        load("tfds:toys", directory=tmp_path)


@pytest.mark.parametrize(
    "described",
    [
        {"image": TOYS["image"], "label": features.Scalar(np.int64)},
        {"label": TOYS["label"]},
        {"image": features.Tensor(shape=(6, 6, 3), dtype=np.uint8), "label": TOYS["label"]},
    ],
)
def test_images_with_classes_are_needed(tmp_path, described):
    write_toys(tmp_path, described=described)
    with pytest.raises(ValueError, match=r"toys must have the features `image` of uint8 and `label` of named classes"):
        load("tfds:toys", directory=tmp_path)


def test_missing_copy_is_refused_in_one_line(tmp_path):
    for name, message in (("toys", "could not be loaded by TFDS"), ("mnist", r"must hold a copy .*To get one: python")):
        with pytest.raises(FileNotFoundError, match=message) as caught:
            load(f"tfds:{name}", directory=tmp_path)
        assert len(str(caught.value).splitlines()) == 1


def test_damaged_copy_is_named(tmp_path):
    write_toys(tmp_path)
    (path,) = tmp_path.rglob("*train.tfrecord*")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"toys could not be read from .*ends within a record"):
        load("tfds:toys", directory=tmp_path)


def test_records_are_those_that_tensorflow_wrote(tmp_path):
    records = [b"", b"one", b"three" * 1000]
    for name, part in (("a", records[:2]), ("b", records[2:])):
        with tf.io.TFRecordWriter(str(tmp_path / name)) as writer:
            for record in part:
                writer.write(record)
    found = TFRecords([tmp_path / "a", tmp_path / "b"])
    assert [found[number] for number in (2, 0, 1)] == [records[2], records[0], records[1]]
    assert len(found) == 3
