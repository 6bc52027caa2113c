"""Matplotlib figures as SVG elements of a page: colors as CSS variables, text for screen readers, unique ids.

No chart goes through pyplot, so the Matplotlib backend of the user is left unchanged.
"""

import html
import io
import re
import warnings

import matplotlib

from rsr_tf.report.colors import as_variable

FONTS = 'system-ui, "DejaVu Sans", sans-serif'


def svg(figure, title, description):
    """Return a figure as an SVG element. Its text stays text, and it carries no date.

    Args:
        figure: a Matplotlib `Figure`.
        title: what the chart shows, for screen readers and as a tooltip.
        description: its main numbers in words, for screen readers.

    Returns:
        The element as text. Its ids are unique among themselves; `with_unique_ids` makes them so on a page.
    """
    for part in (figure, *figure.axes):
        part.patch.set_visible(False)
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "rsr_tf"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the browser, which draws it, has others
        figure.tight_layout()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r"((?:fill|stroke): )(#[0-9a-f]{6})", lambda found: found[1] + as_variable(found[2]), text)
    text = re.sub(r"(font: [^;\"]*?px) [^;\"]*", lambda found: f"{found[1]} {html.escape(FONTS)}", text)
    head, _, body = text.partition(">")
    named = f'{head} role="img" aria-labelledby="title description" stroke-linejoin="round">'
    title, description = (html.escape(words, quote=False) for words in (title, description))
    return f'{named}\n<title id="title">{title}</title>\n<desc id="description">{description}</desc>{body}'


def with_unique_ids(page):
    """Return a page in which no two SVG elements share an id.

    Args:
        page: HTML text.
    """
    count = iter(range(1, page.count("<svg") + 1))
    return re.sub(r"<svg\b.*?</svg>", lambda found: _prefixed(found[0], f"chart-{next(count)}-"), page, flags=re.DOTALL)


def _prefixed(element, prefix):
    """Put a prefix before every id of an SVG element, where it is given and where it is referred to."""

    def change(tag):
        text = re.sub(r'(\bid="|href="#|url\(#)', lambda found: found[1] + prefix, tag[0])
        return re.sub(
            r'aria-labelledby="([^"]*)"',
            lambda found: f'aria-labelledby="{" ".join(prefix + name for name in found[1].split())}"',
            text,
        )

    return re.sub(r"<[a-zA-Z][^>]*>", change, element)
