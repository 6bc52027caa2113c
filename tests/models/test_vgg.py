import pytest

from rsr_tf import models


def test_wrong_head_and_small_images_are_refused():
    with pytest.raises(ValueError, match=r"`head` must be \"cifar\" or \"imagenet\". Received: head='big'"):
        models.vgg16(head="big")
    with pytest.raises(ValueError, match=r"must be at least 32x32, .* Received: \(8, 8, 1\)"):
        models.vgg16((8, 8, 1))
