"""The radius of a ball of images in words, for verdicts, logs and pages."""


def radius_text(epsilon, norm="linf"):
    """Return a radius as text.

    Args:
        epsilon: number, in units of pixels in [0,1].
        norm: `"linf"` (default), whose radii are shown as fractions of 255, or another name, which is added.

    Example:
        >>> from rsr_tf.radii import radius_text
        >>> radius_text(8 / 255), radius_text(0.5, "l2")
        ('8/255', '0.5 in l2')
    """
    return f"{255 * epsilon:.3g}/255" if norm == "linf" else f"{epsilon:.3g} in {norm}"
