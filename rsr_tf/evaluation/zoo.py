"""ZOO against a network, a column for each way to meet its noise (Table 3), in parts that are kept on disk."""

import dataclasses
import functools
import logging
import statistics
import time
from pathlib import Path

import numpy as np

from rsr_tf.attacks.zoo import NOISES, TIERS, ZOOResult, expected_queries, zoo_attack
from rsr_tf.attacks.zoo_single_image import probes_round, to_pixels, to_tanh_space
from rsr_tf.evaluation.checks.attack_checks import noise_does_not_depend_on_batch_size
from rsr_tf.evaluation.inputs import draw_test_images
from rsr_tf.evaluation.model_fn import in_batches
from rsr_tf.evaluation.probes import noise_by_batch_size
from rsr_tf.evaluation.runner import count_right
from rsr_tf.evaluation.scores import wilson_interval
from rsr_tf.evaluation.state import State, derived_seed
from rsr_tf.validation import checked, fingerprint

log = logging.getLogger(__name__)

OFF = "off"
COLUMNS = (*NOISES, OFF)
"""How the attack meets the noise of the noisy network, see `ZOOSettings`; `"off"` attacks the stripped one."""

BLIND = (
    "it rounds them away, as bfloat16 or a quantizer of inputs does, so what ZOO finds says nothing about robustness"
)


def run_zoo(
    networks,
    images,
    labels,
    *,
    tier=1,
    n=200,
    columns=None,
    draws=20,
    group=8,
    seed=0,
    state=None,
    identity=None,
    reseed=lambda seed: None,
):
    """Attack a network by ZOO and say how often it succeeded (Table 3; Chen et al. 2017).

    A stopped attack goes on with the same `state`, after the last finished group of images. The groups of fewer images
    are the first of more, but for the last one if it was not full: an attack of more images starts with those.

    Args:
        networks: dict with `"noisy"`, `"stripped"` or both, each a `model_fn`; see `rsr_tf.evaluation.as_model_fn`.
        images: float32 `(total, h, w, c)` in [0,1].
        labels: integers `(total,)`, the true ones.
        tier: 1 or 2, see `rsr_tf.evaluation.TIERS`. Defaults to 1.
        n: number of test images, drawn by `seed`. Defaults to 200, as in the paper.
        columns: names out of `COLUMNS`. Defaults to all that the networks allow but `"per_image"`, which makes a
            call for every probe and is slow.
        draws: how often the noisy network is asked about what was found, to see whether most of its answers are wrong.
            Defaults to 20.
        group: images attacked side by side. Defaults to 8.
        seed: integer, for the choice of images and the attack. Defaults to 0.
        state: path of a folder where finished groups are kept, column by column; `None` keeps nothing.
        identity: plain value that goes with the state, such as a hash of the weights.
        reseed: function of an integer that restarts the noise, so that a stopped attack ends as an unstopped one.

    Returns:
        A dict of plain values. `"columns"` holds `describe_result` for each column, and in it
        `"success_in_majority"`, the share of images whose adversarial image is wrong in at least half of the draws;
        `"right_draws"`, in how many draws each success is right;
        `"unseen_steps"`, see `unseen_steps`, of which a warning is logged where they are most; `"headline"` names the
        column of the largest success.

    Raises:
        ValueError: for an unknown tier or column, a column whose network is missing, an `n`, `draws` or `group` below
            1, pixels outside [0,1], labels that are wrong or of another number, or a state of another attack.

    Example:
        >>> table = run_zoo({"stripped": as_model_fn(rsr_tf.strip(model))}, images, labels, tier=1, n=40)
        >>> table["columns"]["off"]["success"]["of_attacked"]
    """
    sources = _sources(networks, columns)
    _check(tier=tier, n=n, draws=draws, group=group)
    images, labels = checked(images, labels)
    pixels = fingerprint(images, labels)
    chosen = draw_test_images(len(images), n, seed=seed, ascending=False)
    images, labels = images[chosen], labels[chosen]

    table = {}
    for column, model_fn in sources.items():
        settings = dataclasses.replace(TIERS[tier], seed=seed, noise=TIERS[tier].noise if column == OFF else column)
        own = {"settings": settings.get_config(), "draws": 1 if column == OFF else draws, "group": group}
        kept = State(state and Path(state) / column, {"tier": tier, **own, "network": identity, "pixels": pixels})
        unseen = unseen_steps(model_fn, images[0], settings)
        if unseen > 0.5:
            log.warning("%.0f %% of the small steps of ZOO change no score of this network: %s", 100 * unseen, BLIND)
        if column != OFF:
            _warn_of_uneven_noise(model_fn, images, settings, group)
        done = sum(part.stop - part.start for part in _groups(len(images), group) if kept.has(_step(part)))
        expected = expected_seconds(model_fn, images, settings, group)
        log.info(
            "ZOO tier %d, noise %s, %d images, %d of them done: %.0f min at most",
            *(tier, column, len(images), done, expected / 60 * (1 - done / len(images))),
        )
        found = _attack_in_groups(
            kept, model_fn, images, labels, chosen, settings=settings, draws=own["draws"], group=group, reseed=reseed
        )
        table[column] = {**_summary(found, own["draws"]), **own, "unseen_steps": unseen, "expected_seconds": expected}
    return {
        **{"tier": tier, "n": len(chosen), "seed": seed, "images": chosen.tolist()},
        "columns": table,
        "headline": most_broken(table),
    }


def describe_result(result):
    """What became of all images as plain numbers, for JSON: each share of the attacked images and of all.

    Args:
        result: a `ZOOResult`.

    Returns:
        A dict of plain values.
    """
    counts = {
        "success": result.success,
        "success_l2_0.5": result.within(l2=0.5),
        "success_linf_8/255": result.within(linf=8 / 255),
    }
    attacked = int(result.attacked.sum())
    return {
        "n": len(result.attacked),
        "attacked": attacked,
        **{name: shares(int(hits.sum()), attacked, len(result.attacked)) for name, hits in counts.items()},
        "median_l2": result.median_l2,
        "queries": int(result.queries.sum()),
        "median_queries": statistics.median(result.queries[result.attacked].tolist()) if attacked else None,
    }


def shares(hits, attacked, total):
    """A number of images as a share of those attacked and of all, each with Wilson's interval; `None` of no image."""
    shares = {"images": hits}
    for name, n in (("of_attacked", attacked), ("of_all", total)):
        shares[name] = {"mean": hits / n, "interval": list(wilson_interval(hits / n, n)), "n": n} if n else None
    return shares


def most_broken(columns):
    """The column of the largest success, the headline of a table of ZOO.

    Args:
        columns: the `"columns"` of what `run_zoo` returns.

    Returns:
        A name out of `COLUMNS`.
    """
    return max(columns, key=lambda column: columns[column]["success"]["of_all"]["mean"])


def _warn_of_uneven_noise(model_fn, images, settings, group):
    """ZOO meets the noise of its own calls; is it that of the calls of one image, in which what it found is used."""
    sizes = (1, group * _probes(images[0].size, settings))
    check = noise_does_not_depend_on_batch_size(noise_by_batch_size(model_fn, images, sizes))
    if not check.passed:
        log.warning("%s", check.sentence)


def _probes(pixels, settings):
    return 2 * min(settings.coordinates, pixels) + 1


def _attack_in_groups(kept, model_fn, images, labels, indices, *, settings, draws, group, reseed):
    """The fields of a `ZOOResult` for all images, and how many draws were right on what was found."""
    count = in_batches(count_right(model_fn, draws=draws), batch_size=group)

    def attack(part):
        started = time.monotonic()
        reseed(derived_seed(settings.seed, f"{settings.noise} {part.start}"))
        found = zoo_attack(model_fn, images[part], labels[part], settings=settings, group=group, indices=indices[part])
        return {
            **vars(found),
            "hits": count(found.adversarial, labels[part]),
            "seconds": np.full(len(found.attacked), (time.monotonic() - started) / len(found.attacked)),
        }

    parts = []
    for part in _groups(len(images), group):
        parts.append(kept.once(_step(part), functools.partial(attack, part)))
        _report_progress(parts, len(images))
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _groups(count, group):
    return [slice(start, min(start + group, count)) for start in range(0, count, group)]


def _step(part):
    return f"images {part.start} to {part.stop}"


def expected_seconds(model_fn, images, settings, group):
    """How long ZOO takes on this machine at worst, by the time that one call takes now."""
    pixels = images[0].size
    call = np.resize(images, (group * _probes(pixels, settings), *images.shape[1:]))
    if settings.noise == "per_image":
        call = call[:1]
    np.asarray(model_fn(call))  # traces
    started = time.monotonic()
    for _ in range(3):
        np.asarray(model_fn(call))
    return expected_queries(len(images), pixels, settings) * (time.monotonic() - started) / (3 * len(call))


def unseen_steps(model_fn, image, settings):
    """The share of an iteration's probes that get the very scores of the point itself, at half the image's contrast.

    About 0 in float32. Near 1, the network rounds the steps away and ZOO estimates gradients of zero. Half the
    contrast, because a step in tanh space hardly moves black and white, whatever the network.
    """
    w = to_tanh_space((image.astype(np.float64).ravel() + 0.5) / 2)
    chosen = np.random.default_rng(settings.seed).permutation(w.size)[: settings.coordinates]
    pixels, _ = probes_round(w, chosen, to_pixels(w), settings.difference)
    scores = np.asarray(model_fn(pixels.astype(np.float32).reshape(-1, *image.shape)))
    return float(np.mean((scores[1:] == scores[0]).all(axis=1)))


def _sources(networks, columns):
    """The network that each column attacks."""
    sources = {column: networks.get("stripped" if column == OFF else "noisy") for column in COLUMNS}
    sources = {column: model_fn for column, model_fn in sources.items() if model_fn is not None}
    wrong = [column for column in columns or () if column not in sources]
    if wrong:
        raise ValueError(f"`columns` must be among {tuple(sources)} for this network. Received: {wrong[0]!r}")
    return {column: sources[column] for column in columns or sources if columns or column != "per_image"}


def _check(*, tier, **counts):
    if tier not in TIERS:
        raise ValueError(f"`tier` must be one of {tuple(TIERS)}. Received: tier={tier}")
    for name, value in counts.items():
        if not (isinstance(value, int) and value >= 1):
            raise ValueError(f"`{name}` must be an integer of at least 1. Received: {name}={value}")


def _report_progress(parts, total):
    attacked, broken = (sum(int(part[key].sum()) for part in parts) for key in ("attacked", "success"))
    done = sum(len(part["attacked"]) for part in parts)
    minutes = sum(part["seconds"].sum() for part in parts) / 60
    log.info("%d of %d images: %d attacked, %d broken, %.1f min", done, total, attacked, broken, minutes)


def _summary(found, draws):
    hits, seconds = found["hits"], found["seconds"]
    result = ZOOResult(**{field.name: found[field.name] for field in dataclasses.fields(ZOOResult)})
    in_majority = result.success & (2 * hits <= draws)
    return {
        **describe_result(result),
        "success_in_majority": shares(int(in_majority.sum()), int(result.attacked.sum()), len(hits)),
        "right_draws": hits[result.success].tolist(),
        "seconds": float(seconds.sum()),
    }
