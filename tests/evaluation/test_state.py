import json

import numpy as np
import pytest

from rsr_tf.evaluation import State
from rsr_tf.files import step_lock

IDENTITY = {"suite": "quick", "epsilon": 8 / 255, "network": {"sha256": "ab"}}


def never():
    raise AssertionError("this step was done before")


def test_step_is_computed_once_and_read_afterwards(tmp_path):
    found = State(tmp_path / "state", IDENTITY).once("PGD, network, 0", lambda: {"hits": np.array([3, 0], "int32")})
    again = State(tmp_path / "state", IDENTITY).once("PGD, network, 0", never)
    np.testing.assert_array_equal(found["hits"], [3, 0])
    np.testing.assert_array_equal(again["hits"], [3, 0])
    assert again["hits"].dtype == np.int32


def test_state_knows_what_was_done_before(tmp_path):
    state = State(tmp_path, IDENTITY)
    assert not state.has("a")
    state.once("a", lambda: {"x": 1})
    assert State(tmp_path, IDENTITY).has("a")
    assert not State(tmp_path, IDENTITY).has("b")


def test_without_a_folder_nothing_is_kept():
    assert State(None, IDENTITY).once("a", lambda: {"x": [1, 2]})["x"].tolist() == [1, 2]
    assert not State(None, IDENTITY).has("a")


def test_step_that_fails_leaves_nothing_behind(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        State(tmp_path, IDENTITY).once("a", interrupted)
    state = State(tmp_path, IDENTITY)
    assert not state.has("a")
    assert state.once("a", lambda: {"x": 1})["x"] == 1


def interrupted():
    raise KeyboardInterrupt


def test_step_stopped_while_writing_is_done_again(tmp_path, monkeypatch):
    def half(path, **arrays):
        path.write_bytes(b"PK")
        raise KeyboardInterrupt

    state = State(tmp_path, IDENTITY)
    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", half)
        with pytest.raises(KeyboardInterrupt):
            state.once("a", lambda: {"x": 1})
    assert State(tmp_path, IDENTITY).once("a", lambda: {"x": 2})["x"] == 2


def test_folder_with_half_a_file_of_a_killed_process_is_taken(tmp_path):
    (tmp_path / "partial-identity.json").write_text("{")
    assert State(tmp_path, IDENTITY).once("a", lambda: {"x": 1})["x"] == 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"epsilon": 0.1}, r"belongs to another evaluation: `epsilon` is 0\.03137\d* there and 0\.1 here"),
        ({"network": {"sha256": "cd"}}, r"`network\.sha256` is ab there and cd here"),
        ({"seed": 0}, r"`seed` is None there and 0 here"),
    ],
)
def test_state_of_another_evaluation_is_refused(tmp_path, changed, message):
    State(tmp_path, IDENTITY)
    with pytest.raises(ValueError, match=message):
        State(tmp_path, {**IDENTITY, **changed})


def test_tuples_and_lists_are_the_same_identity(tmp_path):
    State(tmp_path, {"images": (1, 2)}).once("step", lambda: {"hits": np.arange(3)})
    again = State(tmp_path, {"images": [1, 2]})
    assert again.once("step", lambda: {"hits": np.zeros(3)})["hits"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("make", [lambda path: (path / "photo.png").touch(), lambda path: (path / "a.npz").touch()])
def test_folder_of_something_else_is_refused(tmp_path, make):
    make(tmp_path)
    with pytest.raises(ValueError, match=r"is not the state of an evaluation\. Choose another folder"):
        State(tmp_path, IDENTITY)


def test_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="is not the state of an evaluation"):
        State(tmp_path / "file", IDENTITY)


def test_unreadable_identity_is_named(tmp_path):
    (tmp_path / "identity.json").write_text("{")
    with pytest.raises(ValueError, match=r"cannot read .*identity\.json"):
        State(tmp_path, IDENTITY)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"no archive"])
def test_unreadable_step_is_named(tmp_path, content):
    State(tmp_path, IDENTITY)
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"cannot read .*a\.npz.*Remove it to repeat this step"):
        State(tmp_path, IDENTITY).once("a", never)


def test_two_steps_of_one_name_are_refused(tmp_path):
    state = State(tmp_path, IDENTITY)
    state.once("APGD-CE 0", lambda: {"x": 1})
    with pytest.raises(ValueError, match=r"must be unique for every step\. Received twice: 'APGD-CE/0'"):
        state.once("APGD-CE/0", lambda: {"x": 2})


def test_identity_on_disk_is_json(tmp_path):
    State(tmp_path, IDENTITY)
    assert json.loads((tmp_path / "identity.json").read_text()) == {"schema": 2, **IDENTITY}


PGD_0_2_0 = {"epsilon": 0.1, "loss_fn": {"config": "rsr_tf>cross_entropy"}}
EOT_PGD_0_2_0 = {"epsilon": 0.1, "norm": "l2", "draws": 4}


@pytest.mark.parametrize(
    ("stored", "current"),
    [
        (
            {
                "draws": 20,
                "table": {"PGD, network": PGD_0_2_0, "short PGD, network": EOT_PGD_0_2_0, "clean, network": {}},
            },
            {
                "predictions": 20,
                "table": {
                    "PGD, network": {**PGD_0_2_0, "norm": "linf"},
                    "short PGD, network": {"epsilon": 0.1, "norm": "l2", "eot_samples": 4},
                    "clean, network": {},
                },
            },
        ),
        (
            {"draws": 20, "attacks": {"a": {"name": "AdaptivePGD", **EOT_PGD_0_2_0}}},
            {"predictions": 20, "attacks": {"a": {"name": "EOTPGD", "epsilon": 0.1, "norm": "l2", "eot_samples": 4}}},
        ),
        (
            {"draws": 1, "settings": {"draws": 8, "seed": 3}},
            {"predictions": 1, "settings": {"eot_samples": 8, "seed": 3}},
        ),
    ],
    ids=["suite", "transfer", "ZOO"],
)
def test_identity_of_version_0_2_0_is_that_of_the_same_evaluation(tmp_path, stored, current):
    (tmp_path / "identity.json").write_text(json.dumps(stored))
    np.savez(tmp_path / "a.npz", x=1)
    assert State(tmp_path, current).once("a", never)["x"] == 1
    assert json.loads((tmp_path / "identity.json").read_text()) == stored
    with pytest.raises(ValueError, match="belongs to another evaluation: `predictions` is"):
        State(tmp_path, {**current, "predictions": 7})


@pytest.mark.parametrize("content", ["[]", "5", "null", "[" * 100_000, '{"schema": 2'])
def test_identity_that_is_no_object_is_named(tmp_path, content):
    (tmp_path / "identity.json").write_text(content)
    with pytest.raises(ValueError, match=r"\Acannot read .*identity\.json: .*\Z"):
        State(tmp_path, IDENTITY)


@pytest.mark.parametrize("stored", [{"table": {"a": 5}}, {"table": []}, {"settings": 3}, {"attacks": {"a": None}}])
def test_identity_of_version_0_2_0_with_other_types_is_another_evaluation(tmp_path, stored):
    (tmp_path / "identity.json").write_text(json.dumps(stored))
    with pytest.raises(ValueError, match="belongs to another evaluation"):
        State(tmp_path, IDENTITY)


@pytest.mark.parametrize(
    "arrays", [{"y": np.zeros(3)}, {"x": np.zeros(2)}, {"x": np.zeros(3, "int32")}, {"x": np.array(["a", "b", "c"])}]
)
def test_step_with_other_arrays_is_named(tmp_path, arrays):
    State(tmp_path, IDENTITY).once("a", lambda: arrays)
    with pytest.raises(ValueError, match=r"\Acannot read .*a\.npz: it.*Remove it to repeat this step\Z"):
        State(tmp_path, IDENTITY).once("a", never, {"x": ("f", (3,))})


def test_step_with_the_expected_arrays_is_read(tmp_path):
    State(tmp_path, IDENTITY).once("a", lambda: {"x": np.arange(3.0), "more": 1})
    assert State(tmp_path, IDENTITY).once("a", never, {"x": ("f", (None,))})["x"].tolist() == [0, 1, 2]


def test_step_of_another_process_is_waited_for(tmp_path):
    state, told = State(tmp_path, IDENTITY), []

    def waiting():
        told.append("waits")
        np.savez(tmp_path / "a.npz", x=3)
        lock.__exit__(None, None, None)

    lock = step_lock(tmp_path, "a")
    lock.__enter__()
    state.share({"a": never})
    assert state.once("a", never, waiting=waiting)["x"] == 3
    assert told == ["waits"]


def test_something_can_be_done_before_each_step_that_is_computed(tmp_path):
    state, named = State(tmp_path, IDENTITY), []
    state.before_step = named.append
    state.share({"a": lambda: {"x": 1}})
    state.once("a", never)
    state.once("b", lambda: {"x": 1})
    assert named == ["a", "b"]
