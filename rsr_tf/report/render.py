"""Render HTML pages from the templates of this package."""

import jinja2

from rsr_tf.report import labels
from rsr_tf.report.colors import variables
from rsr_tf.report.svg import with_unique_ids

FILTERS = ("percent", "percent_value", "distance_text", "network_label")
"""Functions of `rsr_tf.report.labels` that templates use as filters, by the same names."""


def render(template, **content):
    """Return a page as text. Values are escaped unless the template marks them as safe.

    Args:
        template: string, name of a file in `templates/`, such as `"report.html.jinja"`.
        **content: the variables of the template.

    Returns:
        The HTML text.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("rsr_tf.report"),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,  # a renamed key is an error, not an empty place on the page
    )
    environment.filters.update({name: getattr(labels, name) for name in FILTERS})
    environment.globals["variables"] = variables
    return with_unique_ids(environment.get_template(template).render({"pages": [], "config": "", **content}))
