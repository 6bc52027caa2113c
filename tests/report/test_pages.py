"""What holds for every page: it needs no other file, its ids are unique, its charts have words, its colors contrast."""

import itertools
import re
from html.parser import HTMLParser

import pytest
from report_pages import write_pages

from rsr_tf.report.colors import PALETTE, SERIES, TEXT, as_variable, contrast, variables
from rsr_tf.report.render import render

KINDS = ("run", "trained", "verdict", "sweep", "transfer", "grid", "compare")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    found = write_pages(tmp_path_factory.mktemp("pages"))
    assert tuple(found) == KINDS
    return {name: path.read_text(encoding="utf-8") for name, path in found.items()}


@pytest.fixture(params=KINDS)
def page(request, pages):
    return pages[request.param]


class Elements(HTMLParser):
    """All elements of a page as pairs of a name and a dict of attributes, and the names that were left open."""

    VOID = ("meta", "img", "br", "link", "input", "hr")

    def __init__(self, text):
        super().__init__()
        self.found, self.open, self.wrong = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def test_elements_are_closed_in_order(page):
    elements = Elements(page)
    assert (elements.wrong, elements.open) == ([], [])
    assert not re.search(r"&lt;/?(td|tr|span|div|p)\b", page), "a tag of the template was escaped"


def test_page_needs_no_other_file_and_no_script(page):
    elements = Elements(page).found
    assert {"script", "link", "iframe", "object"} & {name for name, _ in elements} == set()
    assert all(attributes["src"].startswith("data:") for name, attributes in elements if name == "img")
    assert not re.search(r"@import|url\((?!#)|https?://(?!www\.w3\.org/)", page)


def test_ids_are_unique_and_every_reference_finds_one(page):
    elements = Elements(page).found
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert sorted(ids) == sorted(set(ids))
    targets = {attributes.get(key, "") for _, attributes in elements for key in ("href", "xlink:href")}
    targets = {target[1:] for target in targets if target.startswith("#")} | set(re.findall(r"url\(#([^)]+)\)", page))
    named = {name for _, attributes in elements for name in attributes.get("aria-labelledby", "").split()}
    assert targets | named <= set(ids)


def test_every_chart_has_a_title_and_a_description_and_every_image_an_alternative(page):
    charts = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    for chart in charts:
        assert re.match(r'<svg[^>]*role="img" aria-labelledby="([\w-]+)title ([\w-]+)description"', chart)
        (title,), (description,) = (
            re.findall(rf"<{name} id=[^>]*>(.+?)</{name}>", chart) for name in ("title", "desc")
        )
        assert len(title) > 10
        assert re.search(r"\d", description), "the description has the main numbers"
    assert all(attributes.get("alt") for name, attributes in Elements(page).found if name == "img")


def test_charts_name_their_axes(page):
    for chart in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        words = re.findall(r"<text[^>]*>([^<]+)</text>", chart)
        assert len([word for word in words if re.search(r"[a-z]{3}", word)]) >= 2


def test_every_wide_table_scrolls_in_its_own_box(page):
    assert page.count("<table") == len(re.findall(r'<div class="scroll" tabindex="0">\s*<table', page))


def test_all_pages_have_the_same_style(pages):
    (style,) = {re.search(r"<style>.*?</style>", page, re.DOTALL)[0] for page in pages.values()}
    assert "@media print" in style
    assert "prefers-color-scheme: dark" in style
    used = set(re.findall(r"var\(--([\w-]+)", "".join(pages.values())))
    assert used <= set(PALETTE)
    assert style.count("#") == 2 * len(PALETTE), "every color stands in the palette"


@pytest.mark.parametrize("screen", [0, 1])
def test_text_has_enough_contrast_on_light_and_dark_screens(screen):
    pairs = [(paper, ink) for paper, inks in TEXT.items() for ink in inks]
    found = {pair: contrast(*(PALETTE[name][screen] for name in pair)) for pair in pairs}
    assert {pair: ratio for pair, ratio in found.items() if ratio < 4.5} == {}
    lines = {name: contrast(PALETTE[name][screen], PALETTE["paper"][screen]) for name in SERIES}
    assert min(lines.values()) >= 3, "WCAG 1.4.11, of graphics"


def test_contrast_is_that_of_wcag():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#ffffff", "#ffffff") == 1
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)  # the grey that just fails
    assert contrast("#ff0000", "#ffffff") == pytest.approx(4.0, abs=0.005)


def test_charts_have_no_color_that_a_dark_screen_does_not_change(pages):
    found = {
        color
        for name in ("run", "sweep", "compare")
        for chart in re.findall(r"<svg.*?</svg>", pages[name], re.DOTALL)
        if "Transfer" not in chart  # whose cells have their own background
        for color in re.findall(r"(?:fill|stroke): ?(#\w+|[a-z]+)", chart)
    }
    assert found == {"none", "var"}


def test_color_of_a_chart_is_a_variable_with_itself_as_fallback():
    assert as_variable("#1d4ed8") == "var(--blue, #1d4ed8)"
    assert as_variable("#000000") == "var(--ink, #000000)"
    assert as_variable("#123456") == "#123456"
    assert "--blue: #1d4ed8;" in variables("light")
    assert "--blue: #8ab4f8;" in variables("dark")


def test_pages_link_to_each_other(pages):
    links = {name: re.findall(r'href="([^"#]+)"', page) for name, page in pages.items()}
    assert {"sweep/sweep.html", "../transfer/transfer.html", "config.toml"} <= set(links["run"])
    assert "../report.html" in links["sweep"]
    assert "../resnet/report.html" in links["transfer"]
    assert "rsr-seed1/report.html" in links["grid"]


def test_unknown_names_are_an_error_of_the_template():
    with pytest.raises(Exception, match="tiles"):
        render("report.html.jinja", title="")


def test_no_two_of_the_first_lines_of_a_chart_look_alike():
    from rsr_tf.report.charts import series_style

    styles = [tuple(series_style(number).items()) for number in range(24)]
    assert all(one != other for one, other in itertools.combinations(styles, 2))
