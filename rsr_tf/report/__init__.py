"""The pages and figures that people look at, made from plain numbers alone.

`run` is `report.html` of a run folder, `verdict` the part of it about a suite of attacks, `sweep` is `sweep.html`;
`figures` is what their figures share, `templates` fills in the `*.html.jinja` beside it.
"""

from rsr_tf.errors import require

for package in ("matplotlib", "jinja2"):
    require(package, extra="report")
