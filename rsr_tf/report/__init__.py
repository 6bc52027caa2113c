"""Reports: JSON in, HTML out.

- `run_page`: `report.html` of a run folder; `verdict_page`: the part of it on a suite of attacks.
- `sweep_page`: `sweep.html` and the CSV tables of a sweep.
- `overview`, `contents`: the top of `report.html`, and what the folder holds.
- `charts`, `overview_charts`, `verdict_charts`, `sweep_charts`: the plots, as SVG text by `svg`.
- `labels`: every displayed name and number format. `colors`: every color. `render`: fills in the files of `templates/`.
"""

from rsr_tf.errors import require

for package in ("matplotlib", "jinja2"):
    require(package, extra="report")
