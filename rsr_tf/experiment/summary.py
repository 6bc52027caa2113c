"""What a run has come to, in a few lines for the end of a command."""

from rsr_tf.choices import SUITES
from rsr_tf.errors import user_errors
from rsr_tf.experiment.load import load_network
from rsr_tf.experiment.network_facts import sizes
from rsr_tf.experiment.run_folder import suite_name
from rsr_tf.radii import radius_text

NAME, COLUMN = 16, 14
"""Widths of columns."""


def summarize(folder, suite=None, network="pruned", num_images=None, ball=""):
    """Return the results of a run as lines: accuracies, zeros and bytes before and after, claim, page, next command.

    Args:
        folder: a `RunFolder`; what it does not hold yet is left out.
        suite, network, num_images, ball: the suite whose claim is shown, as for `suite_name`. Defaults to the strongest
            one on the pruned network, in linf if there is one.

    Returns:
        A list of strings.

    Raises:
        UserError: for a file that cannot be read.
    """
    with user_errors():
        verdicts = folder.read_verdicts()
    name = folder.verdict(suite_name(suite, network, num_images, ball)).name if suite else _strongest(verdicts)
    lines = _comparison(folder)
    if name in verdicts:
        lines += _claim(verdicts[name])
    if folder.report.exists():
        lines.append(f"{'page':{NAME}} {folder.report}")
    return [*lines, f"{'next':{NAME}} {_next_command(folder, verdicts)}"]


def _comparison(folder):
    """Return the lines that compare the undefended network, or that before pruning, with the pruned one."""
    with user_errors():
        content = folder.read_evaluation()
    networks = content.get("networks", {})
    if "pruned" not in networks:
        return []
    chosen = [*[name for name in ("undefended", "trained") if name in networks][:1], "pruned"]
    rows = {name: networks[name] for name in chosen}
    scores = {name: row["scores"].get("noise_on", row["scores"].get("noise_off", {})) for name, row in rows.items()}
    kept = {"undefended": folder.undefended, "trained": folder.model, "pruned": folder.pruned}
    table = [
        ["", *chosen],
        ["clean accuracy", *(_percent(score["clean"]["mean"]) for score in scores.values())],
        [f"PGD-{content['attack']['steps']}", *(_percent(score["pgd"]["mean"]) for score in scores.values())],
        ["zeros", *(_percent(row["sparsity"]) for row in rows.values())],
    ]
    if all(kept[name].exists() for name in chosen):
        compact = [sizes(load_network(kept[name]))["compact_bytes"] for name in chosen]
        table.append(["bytes, compact", *(f"{size:,}" for size in compact)])
    return [f"{name:{NAME}}" + "".join(f"{cell:>{COLUMN}}" for cell in cells) for name, *cells in table]


def _claim(verdict):
    claim = verdict["claim"]
    low, high = (_percent(bound) for bound in claim["interval"])
    failed = verdict["failed_checks"]
    trust = f"; not reliable, failed checks: {failed}" if failed else ""
    size = f"{low} to {high}, n = {claim['num_images']}"
    radius = f"epsilon {radius_text(verdict['parameters']['epsilon'], verdict['parameters'].get('norm', 'linf'))}"
    return [f"{'claim':{NAME}} at most {_percent(claim['accuracy'])} at {radius} ({size}){trust}"]


def _strongest(verdicts):
    """Return the file of the strongest suite on the pruned network, on the most images; `None` without one."""
    found = [name for name, verdict in verdicts.items() if verdict.get("network") == "pruned"]

    def strength(name):
        parameters = verdicts[name]["parameters"]
        return parameters.get("norm") != "l2", -SUITES.index(parameters["suite"]), parameters["num_images"]

    return max(found, key=strength, default=None)


def _next_command(folder, verdicts):
    judged = {verdict["parameters"]["suite"] for verdict in verdicts.values()} & {"paper", "full"}
    if not judged:
        return f"rsr evaluate {folder.path} --suite paper"
    return f"rsr {'sweep' if folder.measured_artefacts.exists() else 'artefacts'} {folder.path}"


def _percent(share):
    return f"{100 * share:.1f} %"
