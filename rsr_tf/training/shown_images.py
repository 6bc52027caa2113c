"""Images with any number of channels as images that can be looked at."""


def as_shown(images):
    """Return images as grey or RGB: the first three channels, or the first one if there are fewer.

    Args:
        images: array or tensor `(..., h, w, c)`.

    Returns:
        The same `(..., h, w, 3)` or `(..., h, w, 1)`.
    """
    return images[..., : 3 if images.shape[-1] >= 3 else 1]
