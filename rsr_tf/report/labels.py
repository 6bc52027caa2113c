"""Displayed names and number formats.

The JSON files of a run hold identifiers such as `"noise_off"` or `"PGD, one draw"`. What a reader sees in their
place is defined here, once. To reword a page, change a value; the keys are identifiers and must not change.
"""

from rsr_tf.radii import distance_text

NETWORKS = {
    "pruned": "pruned",
    "trained": "trained",
    "undefended": "undefended",
    "exported": "exported",
    "given": "given",
}
"""Labels of networks; in a sentence followed by "network". The order is that of verdicts in a report."""

NOISE = {"on": "noise on", "off": "noise off", "none": "no noise"}
"""Labels of the states that `noise_state` returns."""

NOISE_FROZEN = "noise frozen to a draw that the attacker knows"
"""Label of the network of which a verdict reports `"frozen"`."""

STAGES = {
    "train": "training",
    "admm": "training with ADMM",
    "finetune": "fine-tuning",
    "undefended": "training of the undefended network",
}
"""Labels of the stages in `history.csv`, in the order of the report."""

STAGE_TIMES = {
    "train": "training",
    "prune": "pruning",
    "evaluate": "FGSM and PGD",
    "run_suite": "suites",
    "export": "export",
    "artefacts": "artefacts",
    "sweep": "sweep",
}
"""Labels of the stages in `stages.json`."""

SCORES = {"clean": "clean", "fgsm": "FGSM", "pgd": "PGD"}
"""Labels of the scores in `evaluation.json` and `sweep.json`, in the order of charts and of CSV columns."""

GRID_COLUMNS = {
    "clean": "clean",
    "pgd": "PGD",
    "fgsm": "FGSM",
    "sparsity": "sparsity",
    "claim": "claim of the suite",
    "noise_off_clean": "clean, noise off",
    "noise_off_pgd": "PGD, noise off",
    "parameters": "weights left",
    "certified": "certified, l2 0.1",
    "units": "training passes",
}
"""Labels of the columns of a grid, by the names in `rsr_tf.choices.GRID_COLUMNS`."""

ATTACKS = {
    "clean": "clean",
    "random noise": "random noise",
    "FGSM": "FGSM",
    "PGD-7, as in the paper": "PGD-7, as in the paper",
    "short PGD": "PGD, short",
    "short Square": "Square, short",
    "PGD, one draw": "PGD, single draw",
    "PGD, one draw, few steps": "PGD, single draw, few steps",
    "PGD, one draw, restarts": "PGD, single draw, restarts",
    "PGD-20": "PGD-20",
    "APGD-CE": "APGD-CE",
    "APGD-DLR": "APGD-DLR",
    "PGD-100, 5 restarts, CE": "PGD-100, 5 restarts, CE",
    "PGD-100, 5 restarts, DLR": "PGD-100, 5 restarts, DLR",
    "Square": "Square",
    "HopSkipJump": "HopSkipJump",
}
"""Labels of the attacks of a suite by their identifier in a verdict."""

RADIUS = ", epsilon "
"""Separator between the identifier of an attack and its radius."""

DIRECT, TRANSFER, RESCALED = "direct", "transfer", "rescaled"
ORIGINS = {DIRECT: "crafted on this network", TRANSFER: "transfer", RESCALED: "rescaled logits"}
"""Labels of the network that an attack was crafted on, relative to the one it is scored on."""

SOURCES = {"rescaled": ORIGINS[RESCALED], "substitute": "a substitute trained on its answers"}
"""Labels of networks that only attacks are crafted on."""

TWIN = "its twin"
"""Label of any other network that attacks are crafted on, followed by its name."""

SETTINGS = {"eot_samples": "EOT samples", "loss_fn": "loss"}
"""Labels of attack settings that differ from the name of the parameter."""


def network_label(name):
    """Return the label of a network, such as `"pruned"`; unknown identifiers stay as they are."""
    return NETWORKS.get(name, name)


def cell_title(labels):
    """Return the title of a cell of a grid: the labels of its values."""
    return ", ".join(labels.values())


def noise_state(variant, *, has_noise):
    """Return the key of `NOISE` for a variant of a network.

    Args:
        variant: string, an identifier of a JSON file: `"noise_on"` or `"noise_off"`.
        has_noise: boolean, whether the network has noise at all.

    Returns:
        `"on"`, `"off"` or `"none"`.
    """
    if not has_noise:
        return "none"
    return "off" if variant == "noise_off" else "on"


def noise_label(variant, *, has_noise):
    """Return the label of a variant, such as `"noise on"`; see `noise_state`."""
    return NOISE[noise_state(variant, has_noise=has_noise)]


def attack_label(identifier):
    """Return the label of an attack of a suite.

    Args:
        identifier: string, `"attack"` of a row of a verdict. A radius at its end is kept.

    Returns:
        The label, or the identifier if it is unknown.
    """
    name, *radius = identifier.split(RADIUS)
    return RADIUS.join([ATTACKS.get(name, name), *radius])


def setting_label(name):
    """Return the label of an attack parameter: its name in words, unless `SETTINGS` has another one."""
    return SETTINGS.get(name, name.replace("_", " "))


def setting_value(name, value, norm="linf"):
    """Return the value of an attack parameter as text.

    Args:
        name: string, name of the parameter.
        value: JSON-serializable value; a dict is a function serialized by Keras.
        norm: norm in which the attack measures distances. Defaults to `"linf"`.
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        value = value["config"].split(">")[-1]
    if name in ("epsilon", "step_size"):
        return distance_text(value, norm)
    return str(value).replace("_", " ")


def percent(share, digits=1):
    """Return a share as text such as "12.3 %", with a no-break space."""
    return f"{percent_value(share, digits)}\N{NO-BREAK SPACE}%"


def percent_value(share, digits=1):
    """Return a share in percent without the sign, for columns and axes whose title has it."""
    return f"{100 * share:.{digits}f}"


def duration(seconds):
    """Return a time as text, such as "42 s", "3 min 20 s" or "5 h 2 min"."""
    seconds = round(seconds)
    minutes, hours = seconds // 60, seconds // 3600
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"


def moment(text):
    """Return a time of `stages.json`, such as "2026-11-26T20:56:01+00:00", as "2026-11-26 20:56 UTC"."""
    return text[:16].replace("T", " ") + " UTC"


def shortened(name, most=26):
    """Return a name that leaves room for a chart: its end, which tells folders and layers apart.

    Args:
        name: string.
        most: number of letters. Defaults to 26.
    """
    return name if len(name) <= most else f"…{name[1 - most :]}"
