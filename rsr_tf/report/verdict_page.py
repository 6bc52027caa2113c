"""The verdict of a suite of attacks for a reader who does not know the paper: its plain numbers as text and figures."""

import math

import matplotlib.ticker
from matplotlib.figure import Figure

from rsr_tf.choices import SUITES
from rsr_tf.report.charts import svg, tidy

NETWORKS = {
    "pruned": "the pruned network",
    "trained": "the network before pruning",
    "undefended": "the network without defence",
    "exported": "the exported network",
}
"""The one that a run is about first."""
PGD = (
    "PGD",
    "many small steps of that kind, each followed by a return into what is allowed; short: fewer of them; of several "
    "draws: every gradient is the mean over so many draws of the network's noise",
)
KINDS = {
    "NoAttack": ("clean", "the images as they are"),
    "RandomSigns": ("random noise", "no attack: every pixel goes up or down by epsilon at random"),
    "FGSM": ("FGSM", "one step of epsilon, up or down for every pixel as the gradient of the loss says"),
    "PGD": PGD,
    "AdaptivePGD": PGD,
    "EOTPGD": PGD,
    "APGD": ("APGD", "PGD that sets its own step size, raising one of two losses: CE or DLR"),
    "Square": ("Square", "sees the scores of the classes alone, no gradient: keeps the random squares that do harm"),
}
"""What each class of attacks is called, and what it does."""
DIRECT, TRANSFER, RESCALED = "direct", "transfer", "rescaled"
MARKS = {
    DIRECT: {"marker": "o", "color": "#1d4ed8"},
    TRANSFER: {"marker": "D", "color": "#9a3412", "markerfacecolor": "white"},
    RESCALED: {"marker": "s", "color": "#57534e"},
}


def strongest_first(verdicts):
    """Verdicts in the order of what they are worth: the pruned network before others, then by suite and images.

    Args:
        verdicts: list of dicts, each the content of a `verdict_*.json`.
    """
    networks = list(NETWORKS)
    return sorted(
        verdicts,
        key=lambda verdict: (
            networks.index(verdict["network"]),
            SUITES.index(verdict["parameters"]["suite"]),
            -verdict["parameters"]["n"],
        ),
    )


def verdict_view(verdict):
    """All that the page of one verdict shows, as text, rows and SVG.

    Args:
        verdict: content of a `verdict_*.json`.

    Returns:
        A dict for `verdict.html.jinja`.
    """
    return {
        **summary(verdict),
        "sentences": claim_sentences(verdict),
        "networks": network_rows(verdict),
        "random": verdict["parameters"]["random"]["network"],
        "draws": verdict["parameters"]["draws"],
        "failed": [check for check in verdict["checks"] if not check["passed"]],
        "checks": verdict["checks"],
        "charts": {noise_of(verdict, target): attack_chart(verdict, target) for target in verdict["networks"]},
        "curve": epsilon_curve(verdict),
        "kinds": kinds(verdict),
        "attacks": attack_table(verdict),
        "chosen": verdict["parameters"]["images"],
        "images": {on: max(row["n"] for row in verdict["attacks"] if row["on"] == on) for on in ("all", "checks")},
        "facts": facts(verdict),
    }


def summary(verdict):
    """A verdict in one row, for a list of several."""
    claim, parameters = verdict["claim"], verdict["parameters"]
    return {
        "network": NETWORKS[verdict["network"]],
        "suite": parameters["suite"],
        "n": parameters["n"],
        "epsilon": parameters["epsilon"],
        "claim": claim,
        "clean": clean_of(verdict),
        "noise": noise_of(verdict, claim["network"]),
        "failed_checks": verdict["failed_checks"],
    }


def claim_sentences(verdict):
    """The claim in words.

    Args:
        verdict: content of a `verdict_*.json`.

    Returns:
        A list of sentences.
    """
    claim, parameters = verdict["claim"], verdict["parameters"]
    levels, n, draws = f"{255 * parameters['epsilon']:.3g}", claim["n"], claim["draws"]
    low, high = (percent(bound) for bound in claim["interval"])
    noise = {"noise on": "with its noise on, ", "noise off": "with its noise taken out, ", "no noise": ""}
    asked = noise[noise_of(verdict, claim["network"])]
    if claim["measure"] == "majority":
        tries = f" in a majority of {draws} tries" if draws > 1 else ""
        found = f"{asked}the network still classifies {round(claim['accuracy'] * n)} of {n} test images right{tries}, "
        found += f"whatever attack was tried: {percent(claim['accuracy'])}."
    else:
        found = f"{asked}the network classifies {n} test images, each in the worst version that any attack found, "
        found += f"right in {percent(claim['accuracy'])} of {draws} tries."
    return [
        f"An attacker may change every pixel by up to {levels} of 255 grey levels (epsilon = {levels}/255).",
        found[0].upper() + found[1:],
        f"Without an attack it is {percent(clean_of(verdict))}.",
        *([] if verdict["sparsity"] is None else [f"Of its weights {percent(verdict['sparsity'])} are zero."]),
        f"The {percent(0.95, 0)} interval, for other images of the same kind, goes from {low} to {high}; "
        "a better attack can lower the number, none can raise it.",
        *(["This is the quick suite, a first look with shortened attacks."] if parameters["suite"] == "quick" else []),
    ]


def clean_of(verdict):
    """Accuracy without an attack, of the network and by the measure that the claim is about."""
    claim = verdict["claim"]
    return verdict["networks"][claim["network"]]["clean"]["accuracy" if claim["measure"] == "majority" else "mean"]


def noise_of(verdict, target):
    """`"noise on"`, `"noise off"` for a network that lost it, `"no noise"` for one that has none."""
    if target == "stripped":
        return "noise off"
    return "noise on" if verdict["parameters"]["random"][target] else "no noise"


def network_rows(verdict):
    """Each network without an attack and under the worst one, by majority and by single tries."""
    claim = verdict["claim"]
    return [
        {
            "noise": noise_of(verdict, name),
            "clean": found["clean"],
            "worst_case": found["worst_case"],
            "claim": claim["measure"] if claim["network"] == name else None,
        }
        for name, found in verdict["networks"].items()
    ]


def crafted(row):
    """Was an attack crafted on the network that it is scored on? Yes, if it did not look at any."""
    if row["crafted_on"] == "rescaled":
        return RESCALED
    blind = row["parameters"]["attack"] in ("NoAttack", "RandomSigns")
    return DIRECT if blind or row["crafted_on"] == row["scored_on"] else TRANSFER


def chart_rows(verdict, target):
    """The attacks at the epsilon of the claim, scored on one network, as points of a chart.

    Args:
        verdict: content of a `verdict_*.json`.
        target: `"network"` or `"stripped"`.

    Returns:
        `(alone, in_turn)`, two lists of dicts with `"label"`, `"crafted"`, `"share"` and `"interval"`. Alone: what an
        attack leaves of the images that it is shown. In turn: what it and all attacks before it leave of all images.
    """
    epsilon = verdict["parameters"]["epsilon"]
    alone, in_turn = [], []
    for row in verdict["attacks"]:
        if row["scored_on"] != target or row["parameters"].get("epsilon", epsilon) != epsilon:
            continue
        place, share, interval = (
            (in_turn, "withstood", "withstood_interval") if row["on"] == "left" else (alone, "accuracy", "interval")
        )
        place.append(
            {
                "label": row["attack"] + ("" if crafted(row) == DIRECT else f" ({crafted(row)})"),
                "crafted": crafted(row),
                "share": row[share],
                "interval": row[interval],
            }
        )
    return alone, in_turn


def attack_chart(verdict, target):
    """Every attack on one network: the share of images that it leaves right, with interval, and the worst case."""
    alone, in_turn = chart_rows(verdict, target)
    titles = {"each attack by itself": alone, "in turn: what is left of all images": in_turn}
    panels = {title: points for title, points in titles.items() if points}
    heights = [len(points) + 1 for points in panels.values()]
    figure = Figure(figsize=(5, 0.9 + 0.21 * sum(heights)))
    column = figure.subplots(len(panels), sharex=True, squeeze=False, height_ratios=heights)
    worst = verdict["networks"][target]["worst_case"]["accuracy"]
    for axes, (title, points) in zip(column[:, 0], panels.items(), strict=True):
        for place, point in enumerate(points):
            axes.plot(point["interval"], [place, place], color=MARKS[point["crafted"]]["color"], linewidth=1.4)
            axes.plot(point["share"], place, markersize=5.5, clip_on=False, zorder=3, **MARKS[point["crafted"]])
            axes.text(
                1.1, place, f"{100 * point['share']:.1f}", transform=axes.get_yaxis_transform(), ha="right", va="center"
            ).set_fontsize(8)
        axes.axvline(worst, color="#1c1917", linestyle="--", linewidth=1)
        axes.set_yticks(range(len(points)), [point["label"] for point in points], fontsize=8)
        axes.set(xlim=(0, 1), ylim=(len(points) - 0.4, -0.6))
        axes.set_title(title, loc="left", fontsize=9, weight="bold")
        tidy(axes).tick_params(axis="y", length=0)
    axes.xaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1, decimals=0))
    axes.set_xlabel(f"images still right; dashed: worst case, {percent(worst)}", fontsize=9)
    return svg(figure)


def epsilon_curve(verdict):
    """Accuracy against epsilon, under one PGD with one draw of noise a step, with intervals."""
    curve, epsilon = verdict["curve"], verdict["parameters"]["epsilon"]
    radii, shares = [255 * point["epsilon"] for point in curve], [point["mean"] for point in curve]
    axes = Figure(figsize=(5, 3)).subplots()
    lows, highs = zip(*(point["mean_interval"] for point in curve), strict=True)
    axes.fill_between(radii, lows, highs, color=MARKS[DIRECT]["color"], alpha=0.15, linewidth=0)
    axes.plot(radii, shares, clip_on=False, **MARKS[DIRECT])
    axes.axvline(255 * epsilon, color="#1c1917", linestyle="--", linewidth=1)
    axes.set_xscale("symlog", base=2, linthresh=radii[1])
    apart = [radius for radius, wider in zip(radii, [*radii[1:], math.inf], strict=True) if wider >= 1.5 * radius]
    axes.set_xticks(apart, [f"{radius:.3g}" for radius in apart])
    axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    axes.set(xlim=(0, radii[-1]), ylim=(0, 1), xlabel="epsilon, in grey levels of 255; dashed: that of the claim")
    axes.yaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1, decimals=0))
    axes.set_title("accuracy by epsilon", loc="left", fontsize=9, weight="bold")
    return svg(tidy(axes).figure)


def kinds(verdict):
    """The kinds of attacks that there are in a verdict, as pairs of a name and what they do."""
    found = {row["parameters"]["attack"] for row in verdict["attacks"]}
    return list(dict.fromkeys(kind for name, kind in KINDS.items() if name in found))


def attack_table(verdict):
    """The attacks with all their settings, one row for each, whatever number of networks it was scored on."""
    rows = {}
    for row in verdict["attacks"]:
        entry = rows.setdefault((row["attack"], row["crafted_on"]), {**row, "scores": {}})
        entry["scores"][row["scored_on"]] = row
    return [
        {
            "attack": row["attack"],
            "crafted_on": "rescaled logits"
            if row["crafted_on"] == "rescaled"
            else noise_of(verdict, row["crafted_on"]),
            "n": row["n"],
            "scores": [row["scores"][target] for target in verdict["networks"]],
            "settings": settings(row["parameters"]),
            "distance": row["largest_distance"],
            "seconds": row["seconds"],
        }
        for row in rows.values()
    ]


def settings(parameters):
    """The parameters of an attack in words.

    Args:
        parameters: dict of plain values, as in a row of `"attacks"`.
    """
    return ", ".join(f"{key.replace('_', ' ')} {_value(key, value)}" for key, value in parameters.items())


def facts(verdict):
    """What else there is to know about an evaluation, as pairs of name and value."""
    parameters = verdict["parameters"]
    noise = [f"{noise_of(verdict, name)}: {spread:.2g}" for name, spread in parameters["noise"].items()]
    seconds = {(row["attack"], row["crafted_on"]): row["seconds"] for row in verdict["attacks"]}
    return [
        ("data", verdict["data"]),
        ("network", f"{verdict['model']}, {NETWORKS[verdict['network']]}"),
        ("attacker", f"{parameters['norm']} ball of radius {_value('epsilon', parameters['epsilon'])}, true labels"),
        ("suite", f"{parameters['suite']}, {len(seconds)} attacks, {sum(seconds.values()):.0f} s"),
        ("test images", f"{parameters['n']}, drawn by seed {parameters['seed']}"),
        ("tries", f"{parameters['draws']} for each image of a random network, 1 of another"),
        ("batch size", f"{parameters['batch_size']}"),
        ("noise", f"{', '.join(noise)} of the spread of the logits, between two calls"),
        ("versions", ", ".join(f"{name} {version}" for name, version in verdict["versions"].items())),
    ]


def percent(share, digits=1):
    """A share as text that is not broken at the end of a line."""
    return f"{100 * share:.{digits}f}\N{NO-BREAK SPACE}%"


def _value(key, value):
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):  # a function as Keras writes it down
        return value["config"].split(">")[-1].replace("_", " ")
    if key in ("epsilon", "step_size"):
        return f"{255 * value:.3g}/255"
    return str(value).replace("_", " ")
