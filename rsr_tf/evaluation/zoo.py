"""ZOO against a network, with one column for each treatment of its noise (Table 3), in groups kept on disk."""

import dataclasses
import functools
import logging
import statistics
import time
from pathlib import Path

import numpy as np

from rsr_tf import progress
from rsr_tf.attacks.zoo import NOISES, TIERS, ZOOResult, zoo_attack
from rsr_tf.attacks.zoo_single_image import probes_round, to_pixels, to_tanh_space
from rsr_tf.evaluation.checks.network_checks import noise_does_not_depend_on_batch_size
from rsr_tf.evaluation.inputs import draw_test_images
from rsr_tf.evaluation.measurements import check_fingerprints
from rsr_tf.evaluation.model_fn import count_correct, in_batches
from rsr_tf.evaluation.probes import noise_by_batch_size
from rsr_tf.evaluation.runtime import expected_zoo_seconds
from rsr_tf.evaluation.scores import wilson_interval
from rsr_tf.evaluation.state import State, derived_seed
from rsr_tf.validation import check_integers, checked, fingerprint, renamed_argument

log = logging.getLogger(__name__)

OFF = "off"
COLUMNS = (*NOISES, OFF)
"""How the attack treats the noise of the noisy network, see `ZOOSettings`; `"off"` attacks the stripped one."""

FORMER_NAMES = {"noisy": "noise_on", "stripped": "noise_off"}
"""What version 0.2.0 called the networks; still accepted."""

ROUNDED = "it rounds them away, as bfloat16 or a quantizer of inputs does, so ZOO does not measure its robustness"


@renamed_argument("draws", "predictions")
@renamed_argument("n", "num_images")
def run_zoo(
    networks,
    images,
    labels,
    *,
    tier=1,
    num_images=200,
    columns=None,
    predictions=20,
    group=8,
    seed=0,
    state=None,
    identity=None,
    reseed=lambda seed: None,
):
    """Attack a network with ZOO and return its success rates (Table 3; Chen et al. 2017).

    A stopped attack resumes after its last finished group of images when it is called again with the same `state`. An
    attack on more images reuses the full groups of one on fewer.

    Args:
        networks: dict with `"noise_on"`, `"noise_off"` or both, each a `model_fn`; see `rsr_tf.evaluation.as_model_fn`.
        images: float32 `(total, h, w, c)` in [0,1].
        labels: integers `(total,)`, the true labels.
        tier: 1 or 2, see `rsr_tf.evaluation.TIERS`. Defaults to 1.
        num_images: number of test images, drawn by `seed`. Defaults to 200, as in the paper.
        columns: names out of `COLUMNS`. Defaults to all that the networks allow except `"per_image"`, which makes a
            call for every probe and is slow.
        predictions: predictions of the noisy network per adversarial image, which show whether it is wrong in a
            majority. Defaults to 20.
        group: images attacked together in one call. Defaults to 8.
        seed: integer, for the choice of images and the attack. Defaults to 0.
        state: path of a folder where finished groups are kept for each column, or `None` (default).
        identity: JSON-serializable value stored with the state, such as a hash of the weights. Raises if it differs
            from the stored one.
        reseed: function of an integer that restarts the noise, so that a resumed attack gives exactly the numbers of
            an uninterrupted one. Does nothing by default.

    Returns:
        A JSON-serializable dict. `"columns"` holds for each column the dict of `describe_result` with, in addition,
        `"success_in_majority"`, the share of images whose adversarial image is wrong in at least half of the
        predictions; `"correct_predictions"`, their number for each success; and `"unseen_steps"`, see `unseen_steps`,
        which logs a warning above 0.5. `"headline"` is the column with the largest success.

    Raises:
        ValueError: for an unknown tier or column, a column whose network is missing, a `num_images`, `predictions`
            or `group` below 1, pixels outside [0,1], invalid labels, images and labels of unequal number, or the state
            of another attack or network.

    Example:
        >>> networks = {"noise_off": rsr_tf.as_model_fn(rsr_tf.strip(model))}
        >>> table = rsr_tf.evaluation.run_zoo(networks, images, labels, tier=1, num_images=10)  # doctest: +SKIP
        >>> table["columns"]["off"]["success"]["of_attacked"]  # doctest: +SKIP
    """
    sources = _sources(networks, columns)
    _check(tier=tier, num_images=num_images, predictions=predictions, group=group)
    images, labels = checked(images, labels)
    pixels, shown = fingerprint(images, labels), images[:8]
    chosen = draw_test_images(len(images), num_images, seed=seed, ascending=False)
    images, labels = images[chosen], labels[chosen]

    table = {}
    for column, model_fn in sources.items():
        settings = dataclasses.replace(TIERS[tier], seed=seed, noise=TIERS[tier].noise if column == OFF else column)
        own = {"settings": settings.get_config(), "predictions": 1 if column == OFF else int(predictions)}
        own["group"] = int(group)
        kept = State(state and Path(state) / column, {"tier": tier, **own, "network": identity, "pixels": pixels})
        check_fingerprints(kept, {column: model_fn}, shown)
        measured = _measure(column, model_fn, images, settings, group)
        _log_start(tier, column, _num_done(kept, len(images), group), len(images), measured["expected_seconds"])
        options = {"settings": settings, "predictions": own["predictions"], "group": group, "reseed": reseed}
        options["title"] = f"ZOO, noise {column}"
        found = _attack_in_groups(kept, model_fn, images, labels, chosen, **options)
        table[column] = {**_summary(found, own["predictions"]), **own, **measured}
    return {
        **{"tier": tier, "num_images": len(chosen), "seed": seed, "images": chosen.tolist()},
        "columns": table,
        "headline": most_broken(table),
    }


def describe_result(result):
    """Describe the result for all images: each success as a share of the attacked images and of all.

    Args:
        result: a `ZOOResult`.

    Returns:
        A JSON-serializable dict.
    """
    counts = {
        "success": result.success,
        "success_l2_0.5": result.within(l2=0.5),
        "success_linf_8/255": result.within(linf=8 / 255),
    }
    attacked = int(result.attacked.sum())
    return {
        "num_images": len(result.attacked),
        "attacked": attacked,
        **{name: shares(int(hits.sum()), attacked, len(result.attacked)) for name, hits in counts.items()},
        "median_l2": result.median_l2,
        "queries": int(result.queries.sum()),
        "median_queries": statistics.median(result.queries[result.attacked].tolist()) if attacked else None,
    }


def shares(hits, attacked, total):
    """Return a number of images as a share of those attacked and of all, with intervals; `None` if the total is 0."""
    shares = {"images": hits}
    for name, n in (("of_attacked", attacked), ("of_all", total)):
        share = {"mean": hits / n, "interval": list(wilson_interval(hits / n, n)), "num_images": n} if n else None
        shares[name] = share
    return shares


def most_broken(columns):
    """Return the column with the largest success, the headline of a table of ZOO.

    Args:
        columns: the `"columns"` of the dict that `run_zoo` returns.

    Returns:
        A name out of `COLUMNS`.

    Example:
        >>> means = {"off": 0.9, "shared": 0.4}
        >>> columns = {column: {"success": {"of_all": {"mean": mean}}} for column, mean in means.items()}
        >>> rsr_tf.evaluation.most_broken(columns)
        'off'
    """
    return max(columns, key=lambda column: columns[column]["success"]["of_all"]["mean"])


def _measure(column, model_fn, images, settings, group):
    """Measure what to expect of ZOO in one column, and warn if the network makes it misleading."""
    call_size = group * _probes(images[0].size, settings)
    unseen = unseen_steps(model_fn, images[0], settings)
    if unseen > 0.5:
        log.warning("%.0f %% of the small steps of ZOO change no score of this network: %s", 100 * unseen, ROUNDED)
    if column != OFF:
        _warn_of_uneven_noise(model_fn, images, (1, call_size))
    expected = expected_zoo_seconds(model_fn, images, settings, call_size=call_size)
    return {"unseen_steps": unseen, "expected_seconds": expected}


def _warn_of_uneven_noise(model_fn, images, sizes):
    """Warn if the noise in the calls of ZOO differs from that in calls with one image, where its results are used."""
    check = noise_does_not_depend_on_batch_size(noise_by_batch_size(model_fn, images, sizes))
    if not check.passed:
        log.warning("%s", check.sentence)


def _log_start(tier, column, done, total, expected):
    log.info(
        "ZOO tier %d, noise %s, %d images, %d of them done: %.0f min at most",
        *(tier, column, total, done, expected / 60 * (1 - done / total)),
    )


def _probes(pixels, settings):
    return 2 * min(settings.coordinates, pixels) + 1


def _attack_in_groups(kept, model_fn, images, labels, indices, *, settings, predictions, group, reseed, title):
    """Return the fields of a `ZOOResult` for all images, the correct predictions per adversarial image, and seconds."""
    count = in_batches(count_correct(model_fn, predictions=predictions), batch_size=group)

    def attack(part):
        started = time.monotonic()
        reseed(derived_seed(settings.seed, f"{settings.noise} {part.start}"))
        found = zoo_attack(model_fn, images[part], labels[part], settings=settings, group=group, indices=indices[part])
        return {
            **vars(found),
            "hits": count(found.adversarial, labels[part]),
            "seconds": np.full(len(found.attacked), (time.monotonic() - started) / len(found.attacked)),
        }

    parts, groups = [], _groups(len(images), group)
    with progress.task("group", len(groups), title=title) as task:
        for part in groups:
            known = kept.has(_step(part))
            parts.append(kept.once(_step(part), functools.partial(attack, part), _expected(part.stop - part.start)))
            _report_progress(parts, len(images))
            task.advance(new=not known)
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _expected(count):
    """Return what is stored of a group of `count` images."""
    kinds = {"attacked": "b", "success": "b", "l2": "f", "linf": "f", "queries": "iu", "hits": "iu", "seconds": "f"}
    return {"adversarial": ("f", (count, ...)), **{name: (kind, (count,)) for name, kind in kinds.items()}}


def _groups(count, group):
    return [slice(start, min(start + group, count)) for start in range(0, count, group)]


def _num_done(kept, count, group):
    """Return the number of images whose groups are in the state."""
    return sum(part.stop - part.start for part in _groups(count, group) if kept.has(_step(part)))


def _step(part):
    return f"images {part.start} to {part.stop}"


def unseen_steps(model_fn, image, settings):
    """Return the share of an iteration's probes that get exactly the scores of the point itself.

    It is about 0 in float32. Near 1, the network rounds the steps away and ZOO estimates gradients of zero. The image
    is taken at half its contrast, because a step in tanh space hardly changes black and white for any network.

    Args:
        model_fn: see `rsr_tf.evaluation.as_model_fn`.
        image: float32 `(h, w, c)` in [0,1].
        settings: a `ZOOSettings`.

    Returns:
        A float in [0, 1].
    """
    w = to_tanh_space((image.astype(np.float64).ravel() + 0.5) / 2)
    chosen = np.random.default_rng(settings.seed).permutation(w.size)[: settings.coordinates]
    pixels, _ = probes_round(w, chosen, to_pixels(w), settings.difference)
    scores = np.asarray(model_fn(pixels.astype(np.float32).reshape(-1, *image.shape)))
    return float(np.mean((scores[1:] == scores[0]).all(axis=1)))


def _sources(networks, columns):
    """Return the network that each column attacks."""
    networks = {FORMER_NAMES.get(name, name): model_fn for name, model_fn in networks.items()}
    sources = {column: networks.get("noise_off" if column == OFF else "noise_on") for column in COLUMNS}
    sources = {column: model_fn for column, model_fn in sources.items() if model_fn is not None}
    wrong = [column for column in columns or () if column not in sources]
    if wrong:
        raise ValueError(f"`columns` must be among {tuple(sources)} for this network. Received: {wrong[0]!r}")
    return {column: sources[column] for column in columns or sources if columns or column != "per_image"}


def _check(*, tier, **counts):
    if tier not in TIERS:
        raise ValueError(f"`tier` must be one of {tuple(TIERS)}. Received: tier={tier}")
    check_integers(1, **counts)


def _report_progress(parts, total):
    attacked, broken = (sum(int(part[key].sum()) for part in parts) for key in ("attacked", "success"))
    done = sum(len(part["attacked"]) for part in parts)
    minutes = sum(part["seconds"].sum() for part in parts) / 60
    log.info("%d of %d images: %d attacked, %d broken, %.1f min", done, total, attacked, broken, minutes)


def _summary(found, predictions):
    hits, seconds = found["hits"], found["seconds"]
    result = ZOOResult(**{field.name: found[field.name] for field in dataclasses.fields(ZOOResult)})
    in_majority = result.success & (2 * hits <= predictions)
    return {
        **describe_result(result),
        "success_in_majority": shares(int(in_majority.sum()), int(result.attacked.sum()), len(hits)),
        "correct_predictions": hits[result.success].tolist(),
        "seconds": float(seconds.sum()),
    }
