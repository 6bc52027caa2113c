import errno

import filelock
import pytest

from rsr_tf.files import LOCK_FILE, FolderLock, replacing


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def fail_half_way(path):
    with replacing(path) as temporary:
        temporary.write_text("half of the n")
        raise OSError("No space left on device")


def fail_half_way_in_a_folder(path):
    with replacing(path) as temporary:
        temporary.mkdir()
        (temporary / "half").write_text("of it")
        raise KeyboardInterrupt


def test_old_file_survives_an_error_in_the_block(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(OSError, match="No space left on device"):
        fail_half_way(path)
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["file.txt"]


def test_error_without_an_old_file_leaves_nothing(tmp_path):
    with pytest.raises(OSError, match="No space left on device"):
        fail_half_way(tmp_path / "file.txt")
    assert names_in(tmp_path) == []


def test_old_folder_survives_an_error_in_the_block(tmp_path):
    path = tmp_path / "saved_model"
    path.mkdir()
    (path / "weights").write_text("old")
    with pytest.raises(KeyboardInterrupt):
        fail_half_way_in_a_folder(path)
    assert (path / "weights").read_text() == "old"
    assert names_in(tmp_path) == ["saved_model"]


def test_replacing_puts_the_new_file_in_the_place_of_the_old(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names_in(tmp_path) == ["file.txt"]


def test_replacing_makes_the_folders_above(tmp_path):
    with replacing(tmp_path / "a" / "b" / "file.txt") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "a" / "b" / "file.txt").read_text() == "new"


def test_replacing_keeps_the_ending_for_writers_that_look_at_it(tmp_path):
    with replacing(tmp_path / "model.weights.h5") as temporary:
        assert temporary.name.endswith("model.weights.h5")
        assert temporary.parent == tmp_path
        temporary.touch()


def test_block_that_writes_nothing_is_an_error_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError, match=r"partial-file\.txt"), replacing(path):
        pass
    assert path.read_text() == "old"


def test_folder_gets_its_name_once_it_is_whole(tmp_path):
    path = tmp_path / "saved_model"
    with replacing(path) as temporary:
        temporary.mkdir()
        (temporary / "weights").write_text("all")
        assert not path.exists()
    assert (path / "weights").read_text() == "all"
    assert names_in(tmp_path) == ["saved_model"]


def test_what_a_killed_process_left_half_written_is_swept_away(tmp_path):
    path = tmp_path / "saved_model"
    (tmp_path / "partial-saved_model").mkdir()
    (tmp_path / "partial-saved_model" / "stale").touch()
    with replacing(path) as temporary:
        temporary.mkdir()
    assert names_in(tmp_path) == ["saved_model"]
    assert names_in(path) == []


def test_lock_keeps_others_out_until_it_is_released(tmp_path):
    other = FolderLock(tmp_path / "a")
    with FolderLock(tmp_path / "a"):
        with pytest.raises(ValueError, match="another `rsr` process is using the folder"):
            other.acquire()
        with FolderLock(tmp_path / "b"):
            assert names_in(tmp_path) == ["a", "b"]
    with other:
        assert names_in(tmp_path / "a") == [LOCK_FILE]


def test_lock_of_a_missing_folder_creates_nothing(tmp_path):
    FolderLock(tmp_path / "a").acquire()
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.EIO])
def test_lock_that_cannot_be_taken_is_no_error_in_a_read_only_folder(tmp_path, monkeypatch, code):
    def acquire(self):
        raise OSError(code, "refused")

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    lock = FolderLock(tmp_path)
    if code == errno.EIO:
        with pytest.raises(OSError, match="refused"):
            lock.acquire()
    else:
        lock.acquire()
    assert names_in(tmp_path) == []


def test_replacing_puts_the_new_folder_in_the_place_of_the_old(tmp_path):
    path = tmp_path / "saved_model"
    path.mkdir()
    (path / "old").write_text("old")
    with replacing(path) as temporary:
        temporary.mkdir()
        (temporary / "new").write_text("new")
    assert names_in(tmp_path) == ["saved_model"]
    assert names_in(path) == ["new"]
