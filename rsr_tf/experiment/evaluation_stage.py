"""The stage `evaluate` of a run, whose attacks any number of processes can share."""

import logging

from rsr_tf.errors import disk_errors, user_errors
from rsr_tf.experiment.evaluate import (
    TEST_IMAGES,
    attack_examples,
    attack_network,
    continued_images,
    weight_statistics,
)
from rsr_tf.experiment.load import variants
from rsr_tf.experiment.network_facts import network_facts
from rsr_tf.experiment.provenance import describe
from rsr_tf.files import work_through

log = logging.getLogger(__name__)

EXAMPLES = "examples"


def evaluate_networks(networks, data_set, config, folder, identities):
    """Attack networks with and without their noise, and some images for the report; keep earlier results of theirs.

    Args:
        networks: dict from name to Keras model.
        data_set: a `DataSet`.
        config: a `Config`.
        folder: a `RunFolder`, whose `evaluation.json` gets the results.
        identities: dict from name to the `rsr_tf.identity.content_hash` of the network's file.

    Raises:
        UserError: if earlier results cannot be read, or the disk is full.
    """
    with user_errors(), disk_errors(folder.path), folder.writing():
        images, labels, blank = _head(folder, data_set, config)
        earlier = _without_replaced(folder, identities)
    about = _new_facts(networks, earlier, identities)
    variants_of = {name: variants(network, config.evaluation.ensemble) for name, network in networks.items()}
    pieces = {f"{name}, {variant}": (name, variant) for name, each in variants_of.items() for variant in each}

    def stored():
        """What is in the file now, with every network, in the order of the run whoever was first."""
        content = blank | folder.read_evaluation()
        known = content["networks"]
        names = dict.fromkeys([*networks, *known])
        content["networks"] = {name: about.get(name, {}) | known.get(name, {}) for name in names}
        return content

    def is_done(piece):
        if piece == EXAMPLES:
            return EXAMPLES in folder.read_evaluation()
        name, variant = pieces[piece]
        return variant in stored()["networks"][name]["scores"]

    def work(piece):
        if piece == EXAMPLES:
            shown = {name: network for name, network in networks.items() if name != "trained"}
            found = attack_examples(shown, images, labels, config)
        else:
            name, variant = pieces[piece]
            found = attack_network(variants_of[name][variant], images, labels, config, piece)
        with folder.writing():
            content = stored()
            if piece == EXAMPLES:
                content[EXAMPLES] = found
            else:
                scores = content["networks"][name]["scores"] | {variant: found}
                order = dict.fromkeys([*variants_of[name], *scores])
                content["networks"][name]["scores"] = {each: scores[each] for each in order if each in scores}
            folder.write_evaluation(content)

    def tell(piece):
        log.info("another process has %s", piece)

    with user_errors(), disk_errors(folder.path):
        work_through([*pieces, EXAMPLES], folder.path, is_done=is_done, work=work, waiting=tell)


def _head(folder, data_set, config):
    """Return test images, labels and what precedes their results; remove earlier results of other images."""
    stored = folder.read_evaluation()
    images, labels, found, earlier = continued_images(data_set, config, stored)
    blank = describe(config, data_set, num_images=len(labels)) | {TEST_IMAGES: found}
    if earlier is None:
        log.info("the test images have changed since %s was written: attacking all networks again", folder.evaluation)
        folder.write_evaluation(blank)
    return images, labels, blank


def _without_replaced(folder, identities):
    """Return the earlier results without those of networks whose file has been replaced, which it removes.

    Networks without an identity, as in files of earlier versions, are kept.
    """
    content = folder.read_evaluation()
    networks = content.get("networks", {})
    replaced = [
        name for name, identity in identities.items() if networks.get(name, {}).get("identity", identity) != identity
    ]
    if replaced:
        log.info("%s has changed since %s was written: attacking it again", " and ".join(replaced), folder.evaluation)
        content["networks"] = {name: entry for name, entry in networks.items() if name not in replaced}
        content.pop(EXAMPLES, None)  # with them an evaluation counts as finished
        folder.write_evaluation(content)
    return content


def _new_facts(networks, earlier, identities):
    """Return the identities of networks, and statistics and facts of those that have none in the earlier results."""
    known = {name for name, entry in earlier.get("networks", {}).items() if "facts" in entry}
    return {
        name: {"identity": identities[name]}
        | (weight_statistics(network) | {"facts": network_facts(network)} if name not in known else {})
        for name, network in networks.items()
    }
