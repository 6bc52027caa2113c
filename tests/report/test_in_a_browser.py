"""Every kind of page in headless Chromium: no error, nothing wider than the screen, on a desk and on a phone."""

import html
import json
import re
import shutil
import subprocess

import pytest
from report_pages import write_pages

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
KINDS = ("run", "trained", "verdict", "sweep", "transfer", "grid", "compare")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.integration,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]

CHECK = """<script>
addEventListener("load", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
  const page = document.documentElement, ids = [...document.querySelectorAll("[id]")].map(element => element.id);
  const wide = [...document.querySelectorAll("main *, nav *")].filter(element =>
    !element.closest(".scroll, pre, svg") && element.getBoundingClientRect().right > innerWidth + 1);
  const named = element => [...(element.getAttribute("aria-labelledby") || "").split(" ")].every(id =>
    (document.getElementById(id) || {}).textContent);
  const small = [...document.querySelectorAll("svg text")].map(text => text.getBoundingClientRect().height);
  const found = {
    width: innerWidth,
    overflow: page.scrollWidth - page.clientWidth,
    wide: wide.map(element => element.outerHTML.slice(0, 80)),
    twice: ids.filter((id, place) => ids.indexOf(id) !== place),
    unnamed: [...document.images].filter(image => !image.alt).length
      + [...document.querySelectorAll("svg")].filter(chart => !named(chart)).length,
    broken: [...document.images].filter(image => !image.naturalWidth).length,
    background: getComputedStyle(document.body).backgroundColor,
    smallest: Math.min(...small, 99),
    charts: document.querySelectorAll("svg").length,
  };
  const result = document.createElement("pre");
  result.id = "result";
  result.textContent = JSON.stringify(found);
  parent.document.body.replaceChildren(result);
});
</script></body>"""
"""A script for a copy of the page, which tells the page around it what it has found."""

SCREEN = """<!doctype html><html><head><meta name="color-scheme" content="light dark"></head>
<body style="margin: 0"><iframe width="{width}" height="900" style="border: 0" srcdoc="{page}"></iframe></body>"""
"""A page around it, as the window itself cannot be as narrow as a phone."""


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """Return a function that opens a page on a screen; it returns what was found, and the errors of the console."""
    folder = tmp_path_factory.mktemp("pages")
    pages = {name: path.read_text(encoding="utf-8") for name, path in write_pages(folder).items()}

    def open_page(page, width, *options):
        page = html.escape(pages.get(page, page).replace("</body>", CHECK))
        path = folder / "screen.html"
        path.write_text(SCREEN.format(width=width, page=page), encoding="utf-8")
        command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", *options]
        command += [f"--user-data-dir={folder / 'profile'}", "--window-size=1400,1000", "--dump-dom", path.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        (found,) = re.findall(r'<pre id="result">(.*?)</pre>', done.stdout, re.DOTALL)
        return json.loads(html.unescape(found)), console

    return open_page


@pytest.mark.parametrize("width", [1280, 375])
@pytest.mark.parametrize("name", KINDS)
def test_page_fits_the_screen_and_has_no_error(opened, name, width):
    found, console = opened(name, width)
    assert found["width"] == width
    assert console == []
    assert (found["overflow"], found["wide"]) == (0, [])
    assert (found["twice"], found["unnamed"], found["broken"]) == ([], 0, 0)
    assert found["charts"] > 0
    assert found["smallest"] > 6, "text of a chart, in pixels"


def test_page_is_dark_where_the_reader_wants_it(opened):
    assert opened("run", 1280)[0]["background"] == "rgb(255, 255, 255)"
    assert opened("run", 1280, "--blink-settings=preferredColorScheme=0")[0]["background"] == "rgb(23, 24, 28)"


def test_check_sees_what_is_wrong(opened):
    """The tests above are worth something only if the script finds what is plainly there."""
    body = '<main id="a"><p id="a" style="width: 5000px">x</p><img src="data:,"><svg></svg></main>'
    found, console = opened(f"<!doctype html><body>{body}<script>console.error('no')</script></body>", 375)
    assert found["overflow"] > 4000
    assert found["wide"]
    assert (found["twice"], found["unnamed"], found["broken"]) == (["a"], 2, 1)
    assert len(console) == 1
