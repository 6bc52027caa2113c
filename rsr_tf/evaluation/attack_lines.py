"""The results of attacks as lines of the log: a table of less than 100 columns that grows while the attacks run."""

NAME, SOURCE, COUNT, SHARE, TIME = 32, 12, 6, 7, 7
"""Widths of columns."""


def heading(targets):
    """Return the heading of the lines.

    Args:
        targets: names of the networks that are scored; each has two columns: the share of the attacked images that are
            correct, and the share of all images that are robust against every attack so far.

    Example:
        >>> from rsr_tf.evaluation.attack_lines import heading
        >>> heading(["noise_on"])
        'attack                           crafted on   images  noise_on  robust    time'
    """
    scores = "  ".join(f"{target:>{SHARE}}  {'robust':>{SHARE - 1}}" for target in targets)
    return f"{'attack':{NAME}} {'crafted on':{SOURCE}} {'images':>{COUNT}}  {scores} {'time':>{TIME}}"


def attack_line(result):
    """Return the results of one attack as a line.

    Args:
        result: a `rsr_tf.evaluation.AttackResult`.
    """
    scores = "  ".join(
        f"{score.accuracy:>{max(SHARE, len(target))}.1%}  {result.robust_accuracy[target]:>{SHARE - 1}.1%}"
        for target, score in result.scores.items()
    )
    seconds = f"{result.seconds:.0f} s"
    return f"{result.name:{NAME}} {result.source:{SOURCE}} {len(result.index):{COUNT}}  {scores} {seconds:>{TIME}}"
