"""The page of `ct.explain`, opened in Chromium: its numbers, its width, its colours."""

from __future__ import annotations

import html.parser
import re
import shutil
import subprocess

import pytest

import conv_transpose_nd as ct
from conv_transpose_nd._explain import page, text
from conv_transpose_nd._explain.result import Explanation
from conv_transpose_nd.saved_model import Timing

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="needs Chromium: apt-get install chromium"
)


@pytest.fixture(scope="module")
def explained(machine_measured_once):
    """Calls of several kinds, one of them stock, as if they were those of one model."""
    parts = [
        ct.explain([1, 16, 16, 8], [4, 4, 6, 8], strides=2, activation="relu", seconds=0.02),
        ct.explain([1, 40, 4], [16, 3, 4], strides=8, padding="SAME_LOWER", seconds=0.02),
        ct.explain([1, 3, 4, 5, 2], [3, 2, 5, 3, 2], strides=[1, 2, 3], seconds=0.02),
    ]
    calls = [one for part in parts for one in part.convolutions]
    calls[0].call.__dict__.update(op="Conv2DBackpropInput", name="gen<b>/up1/conv_transpose")
    return Explanation(
        target="models/<script>&",
        convolutions=tuple(calls),
        machine=parts[0].machine,
        device=parts[0].device,
        threads=parts[0].threads,
        instruction_set=parts[0].instruction_set,
        signatures=(Timing("serve", 0.25, 0.125, "[1, 16]", 0.0, 1.0),),
        notes=("a note <i>",),
    )


class Reader(html.parser.HTMLParser):
    """All elements with their attributes, parents' rows, and own text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.found: list[dict[str, str]] = []
        self.row = ""
        self.open = False
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        element = {"tag": tag, "text": "", **{key: value or "" for key, value in attrs}}
        if tag == "tr":
            self.row = element.get("data-row", "")
        self.found.append(element | {"row": self.row})

        self.open = True

    def handle_endtag(self, tag):
        self.open = False

    def handle_data(self, data):
        if self.open:
            self.found[-1]["text"] += data.strip()


def chromium(folder, *arguments):
    done = subprocess.run(
        [
            *(CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *(f"--user-data-dir={folder / 'profile'}", *arguments),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def written(explained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    explained.write_html(folder / "page.html")
    return folder


@needs_chromium
def test_the_page_holds_the_numbers(explained, written):
    document = chromium(written, "--dump-dom", f"file://{written / 'page.html'}")
    elements = Reader(document).found
    data = explained.to_dict()
    for number, one in enumerate(data["convolutions"], 1):
        cells = {
            e["data-field"]: e for e in elements if e["row"] == str(number) and "data-field" in e
        }
        assert list(cells) == [field for field, _, _ in page._COLUMNS]
        for field, _, factor in page._COLUMNS:
            assert cells[field]["data-value"] == repr(one[field])
            value = one[field] if factor is None or one[field] is None else one[field] * factor
            shown = (value or "-") if factor is None else text.figure(value)
            assert cells[field]["text"] == shown
    totals = {e["data-total"]: e for e in elements if "data-total" in e}
    assert float(totals["stock_ms"]["data-value"]) == data["total"]["stock_ms"]
    assert totals["ours_ms"]["text"] == text.figure(data["total"]["ours_ms"])
    assert totals["count"]["text"] == "3"
    signatures = {
        e["data-field"]: e["text"] for e in elements if e.get("data-field", "")[-2:] == "ms"
    }
    assert (signatures["before_ms"], signatures["after_ms"]) == ("250", "125")
    # One circle per measured time, one diagram per kind of axis.
    circles = [e["class"] for e in elements if e["tag"] == "circle"]
    assert (circles.count("ours"), circles.count("stock")) == (3, 2)
    assert sum(e["tag"] == "figure" for e in elements) == 1 + 1 + 3
    assert not [e for e in elements if e["tag"] == "script"]
    assert "models/<script>&" in [e["text"] for e in elements if e["tag"] == "h1"]


@needs_chromium
@pytest.mark.parametrize("width", [400, 700, 1280])
def test_nothing_is_wider_than_the_window(written, width):
    source = (written / "page.html").read_text(encoding="utf-8")
    script = (
        "<script>const root = document.documentElement; root.dataset.inner = innerWidth;"
        "root.dataset.wide = root.scrollWidth;</script>"
    )
    # The page's own policy forbids scripts.
    source = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", source)
    copy = written / f"measured{width}.html"
    copy.write_text(source.replace("</body>", script + "</body>"), encoding="utf-8")
    document = chromium(written, f"--window-size={width},800", "--dump-dom", f"file://{copy}")
    root = next(e for e in Reader(document).found if e["tag"] == "html")
    assert int(root["data-wide"]) <= int(root["data-inner"]) <= max(width, 500)


@needs_chromium
def test_light_and_dark(written):
    image = pytest.importorskip("PIL.Image")
    means = []
    for scheme in (1, 0):
        path = written / f"{scheme}.png"
        chromium(
            written,
            f"--blink-settings=preferredColorScheme={scheme}",
            f"--screenshot={path}",
            "--window-size=800,600",
            f"file://{written / 'page.html'}",
        )
        with image.open(path) as picture:
            small = picture.convert("L").resize((1, 1))
            means.append(small.getpixel((0, 0)))
    assert means[0] > 200
    assert means[1] < 70


def test_the_page_refers_to_nothing_outside(explained):
    source = explained.to_html()
    assert not re.findall(r"(?:src|href|action)\s*=|url\(|@import|https?:", source)
    assert "default-src 'none'" in source
    assert "<script" not in source
    assert "gen&lt;b&gt;/up1/conv_transpose" in source
    assert "a note &lt;i&gt;" in source


def test_without_measurements_there_is_no_roofline():
    source = ct.explain([1, 4, 2], [3, 2, 2], seconds=0).to_html()
    assert "roofline" not in re.sub(r"<style>.*</style>", "", source, flags=re.DOTALL)
    assert 'data-field="ours_ms" data-value="None">-<' in source
