"""Distances of images in words, for verdicts, logs and pages."""


def distance_text(distance, norm="linf"):
    """Return a distance as text.

    Args:
        distance: number, in units of pixels in [0,1].
        norm: `"linf"` (default), whose distances are shown as fractions of 255, or another name.

    Example:
        >>> from rsr_tf.radii import distance_text
        >>> distance_text(8 / 255), distance_text(0.5, "l2")
        ('8/255', '0.5')
    """
    return f"{255 * distance:.3g}/255" if norm == "linf" else f"{distance:.3g}"


def radius_text(epsilon, norm="linf"):
    """Return the radius of a ball as text: a distance, with the name of a norm other than linf.

    Example:
        >>> from rsr_tf.radii import radius_text
        >>> radius_text(8 / 255), radius_text(0.5, "l2")
        ('8/255', '0.5 in l2')
    """
    return distance_text(epsilon, norm) + ("" if norm == "linf" else f" in {norm}")
