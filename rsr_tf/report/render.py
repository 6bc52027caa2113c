"""HTML pages from the templates of this package."""

import jinja2


def render(template, **content):
    """A page as text; what comes from outside is escaped.

    Args:
        template: name of a file of this package, such as `"report.html.jinja"`.
        **content: what the template names. It may use the filters `percent` and `fraction` (of 255) on numbers.
    """
    environment = jinja2.Environment(loader=jinja2.PackageLoader("rsr_tf.report"), autoescape=True, trim_blocks=True)
    environment.filters["percent"] = lambda share: f"{100 * share:.1f}"
    environment.filters["fraction"] = lambda distance: f"{255 * distance:.3g}/255"
    return environment.get_template(template).render(content)
