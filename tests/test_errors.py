import pytest
import tensorflow as tf

from rsr_tf.errors import first_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\ntwo"), "one"),
        (ValueError("\n one"), "one"),
        (KeyError(), "KeyError"),
        (ValueError("in user code:\n\n    File x\n\n    ValueError: two\n"), "ValueError: two"),
    ],
)
def test_line_is_the_first_that_says_something(error, line):
    assert first_line(error) == line


def test_error_within_a_graph_of_tensorflow_is_found():
    @tf.function
    def broken(x):
        raise ValueError("what is wrong")

    with pytest.raises(ValueError, match="in user code") as caught:
        broken(tf.constant(1.0))
    assert first_line(caught.value).endswith("what is wrong")
