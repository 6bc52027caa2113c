"""The check of attacks that were crafted on twins of the network, such as one without its quantizer."""

import itertools

from rsr_tf.evaluation.checks.base import finds_little_more


def broken_by_twins(results, twins):
    """Return what attacks on twins broke after the network's own attacks, by gradients and by scores.

    Args:
        results: list of `AttackResult`, in the order of the attacks.
        twins: names of the twins.

    Returns:
        A list with the share of all images for each of these attacks and each network that they were scored on; empty
        if there was none, or no image was left.
    """
    return [
        before.robust_accuracy[target] - result.robust_accuracy[target]
        for before, result in itertools.pairwise(results)
        if result.source in twins
        for target in result.robust_accuracy
    ]


def twins_find_little_more(broken, n):
    """Check that attacks on twins break few images that the attacks on the network itself did not break.

    Transfer should be weaker than a direct attack (Athalye et al. 2018): what it finds beyond, gradients have hidden.

    Args:
        broken, n: as for `finds_little_more`, an entry for each attack on a twin.

    Returns:
        A `Check`.
    """
    return finds_little_more(
        "twins find little that other attacks left",
        broken,
        n,
        "An attack on a twin broke {value:.1%} of all images after the attacks on the network (n = {n}).",
        suggests="That suggests gradient masking: attack the twins with a larger suite, too.",
    )
