"""The page of a transfer matrix."""

from rsr_tf.report.charts import draw_heat_map
from rsr_tf.report.labels import percent, setting_label, setting_value
from rsr_tf.report.render import render


def transfer_page(transfer, reports):
    """Render the page of a transfer matrix.

    Args:
        transfer: dict, content of `transfer.json`.
        reports: dict from the name of a run to the address of its report.

    Returns:
        The HTML text.
    """
    rows = transfer["accuracy"]
    return render(
        "transfer.html.jinja",
        title=f"Transfer between networks on {transfer.get('data', 'the same data')}",
        pages=[("Transfer", None), *(reports.items())],
        chart=draw_heat_map(transfer),
        targets=list(next(iter(rows.values()))),
        rows=rows,
        worst=_direct(rows),
        num_images=transfer["num_images"],
        settings={name: _settings(attack) for name, attack in transfer.get("attacks", {}).items()},
        versions=transfer.get("versions", {}),
    )


def _direct(rows):
    """Return a sentence for each network that images of another one break clearly more often than its own."""
    found = []
    for target in (name for name in rows if name in next(iter(rows.values()))):
        own = rows[target][target]
        source = min(rows, key=lambda name: rows[name][target]["mean"])
        other = rows[source][target]
        if other["interval"][1] < own["interval"][0]:
            numbers = f"{percent(other['mean'])} against {percent(own['mean'])}"
            found.append(f"{target} falls more often to images of {source} than to its own: {numbers}.")
    return found


def _settings(attack):
    return ", ".join(f"{setting_label(name)} {setting_value(name, value)}" for name, value in attack.items())
