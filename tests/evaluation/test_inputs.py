import numpy as np

from rsr_tf.evaluation import draw_by_class, draw_test_images


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


def test_images_drawn_by_class_have_the_shares_of_sorted_classes():
    labels = np.repeat([0, 1, 2], [500, 300, 200])
    drawn = draw_by_class(labels, 100, seed=1)
    np.testing.assert_array_equal(np.bincount(labels[drawn]), [50, 30, 20])
    assert (np.diff(drawn) > 0).all()
    assert set(drawn.tolist()) != set(draw_by_class(labels, 100, seed=2).tolist())
    np.testing.assert_array_equal(draw_by_class(labels[:, None], 100, seed=1), drawn)


def test_few_images_drawn_by_class_are_of_many_classes():
    for seed in range(5):
        assert len(set((draw_by_class(np.repeat(range(8), 100), 8, seed=seed) // 100).tolist())) >= 7


def test_all_images_are_drawn_in_their_order():
    np.testing.assert_array_equal(draw_by_class([1, 0, 0], 9), [0, 1, 2])
