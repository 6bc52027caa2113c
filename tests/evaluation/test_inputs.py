import numpy as np

from rsr_tf.evaluation import draw_test_images


def test_test_images_are_drawn_by_a_seed_without_repetition():
    drawn = draw_test_images(10_000, seed=3)
    assert len(drawn) == len(set(drawn.tolist())) == 200
    assert (np.diff(drawn) > 0).all()
    assert 0 <= drawn[0] < 500
    assert 9500 < drawn[-1] < 10_000
    np.testing.assert_array_equal(drawn, draw_test_images(10_000, seed=3))
    assert set(drawn.tolist()) != set(draw_test_images(10_000, seed=4).tolist())
    np.testing.assert_array_equal(draw_test_images(5), np.arange(5))
    in_turn = draw_test_images(10_000, seed=3, ascending=False)
    np.testing.assert_array_equal(np.sort(in_turn), drawn)
    np.testing.assert_array_equal(draw_test_images(10_000, 50, seed=3, ascending=False), in_turn[:50])
