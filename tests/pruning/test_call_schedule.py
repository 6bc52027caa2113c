import numpy as np
import pytest
import tensorflow as tf

from rsr_tf.pruning.callback import call_schedule


@pytest.mark.parametrize(
    "answer",
    [(True, 0.5), [True, 0.5], (np.bool_(True), np.float32(0.5)), (tf.constant(True), tf.constant(0.5)), (1, 0.5)],
)
def test_answer_comes_as_plain_python(answer):
    should_prune, sparsity = call_schedule(lambda step: answer, 3)
    assert (should_prune, sparsity) == (True, 0.5)
    assert (type(should_prune), type(sparsity)) == (bool, float)


def test_share_is_not_looked_at_where_nothing_is_pruned():
    assert call_schedule(lambda step: (False, None), 3) == (False, 0.0)


@pytest.mark.parametrize("answer", [None, True, (True,), (True, None), (True, 0.5, 1), (True, [0.5, 0.6])])
def test_answer_that_is_no_pair_is_refused(answer):
    with pytest.raises(ValueError, match=r"`schedule` must return .*Received: "):
        call_schedule(lambda step: answer, 3)


@pytest.mark.parametrize("share", [60.0, -0.1, float("nan")])
def test_share_out_of_range_is_refused(share):
    with pytest.raises(ValueError, match=rf"`schedule` must return a sparsity .*Received: sparsity={share} at step 3"):
        call_schedule(lambda step: (True, share), 3)
