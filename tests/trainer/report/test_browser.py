"""The report in a real browser: it fits its window, loads nothing, runs no script, and says nothing on the console."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import escape
from pathlib import Path
from typing import Any

import pytest

from tests.support.experiment_case import make_experiment
from trainer.report import ReportInputs, collect_experiment, render_experiment, render_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
)
WIDTHS = (390, 1280)
PROBE = """<script>
onload = () => {
  const out = e => e.getBoundingClientRect().right > innerWidth + 1 || e.getBoundingClientRect().left < -1;
  const ink = e => getComputedStyle(e).color.match(/[\\d.]+/g).slice(0, 3).reduce((a, b) => a + +b, 0);
  const paper = getComputedStyle(document.body).backgroundColor.match(/[\\d.]+/g).reduce((a, b) => a + +b, 0);
  parent.postMessage({
    width: innerWidth,
    scroll: document.documentElement.scrollWidth,
    outside: [...document.querySelectorAll('body *')].filter(
      e => !e.closest('.scroll') && !e.closest('svg') && out(e)).map(e => e.outerHTML.slice(0, 80)),
    scrolling: [...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth + 1).length,
    tables: [...document.querySelectorAll('.scroll:has(table)')].filter(e => e.scrollWidth > e.clientWidth + 1).length,
    overlapping: [...document.querySelectorAll('.sample')].filter(e => e.scrollWidth > e.clientWidth + 1).length,
    cutText: [...document.querySelectorAll('svg')].filter(s => [...s.querySelectorAll('text')].some(
      t => t.getBoundingClientRect().left < s.getBoundingClientRect().left - 1
        || t.getBoundingClientRect().right > s.getBoundingClientRect().right + 1)).length,
    svgs: document.querySelectorAll('svg').length,
    resources: performance.getEntriesByType('resource').length,
    broken: [...document.images].filter(i => !i.complete || !i.naturalWidth).length,
    dark: paper < 3 * 64 && ink(document.body) > 3 * 200,
    light: paper > 3 * 200 && ink(document.body) < 3 * 64,
  }, '*');
};
</script>"""
FRAMES = """<!doctype html><meta charset="utf-8"><title>frames</title><body><script>
const said = {};
onmessage = e => { said[e.data.width] = e.data; document.title = JSON.stringify(said); };
</script>%s</body>"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


def browse(page: Path, profile: Path, *options: str) -> subprocess.CompletedProcess[str]:
    assert CHROMIUM is not None
    return subprocess.run(
        [CHROMIUM, *OPTIONS, f"--user-data-dir={profile}", *options, page.as_uri()],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=True,
    )


def look(html: str, folder: Path, *options: str, widths: tuple[int, ...] = WIDTHS) -> dict[str, Any]:
    """What the page says of itself at each width; a frame may be narrower than any window of Chromium."""
    assert html.rstrip().endswith("</html>")
    probed = escape(html.replace("</body>", f"{PROBE}</body>"))
    frames = "".join(
        f'<iframe width="{width}" height="900" style="border:0" srcdoc="{probed}"></iframe>' for width in widths
    )
    page = folder / "frames.html"
    page.write_text(FRAMES % frames, encoding="utf-8")
    done = browse(page, folder / "profile", "--virtual-time-budget=5000", "--dump-dom", *options)
    assert "CONSOLE" not in done.stderr, done.stderr
    title = re.search(r"<title>(\{.*?\})</title>", done.stdout, re.DOTALL)
    assert title is not None, done.stderr
    found: dict[str, Any] = json.loads(title.group(1).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    assert sorted(map(int, found)) == list(widths)
    return found


def check(found: dict[str, Any]) -> None:
    for width, said in found.items():
        assert said["scroll"] <= int(width)
        assert said["outside"] == []
        assert (said["resources"], said["broken"], said["overlapping"], said["cutText"]) == (0, 0, 0, 0)
        assert said["svgs"] > 4
    assert found["1280"]["tables"] == 0


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_comparison_fits_its_window_light_and_dark(inputs: ReportInputs, tmp_path: Path, language) -> None:  # type: ignore[no-untyped-def]
    html = render_report(inputs, language=language)
    dark = ["--blink-settings=preferredColorScheme=0"] if language == "zh" else []
    found = look(html, tmp_path, *dark)
    check(found)
    assert found["390"]["dark" if dark else "light"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_an_experiment_fits_its_window(make_case, tmp_path: Path, language) -> None:  # type: ignore[no-untyped-def]
    case = make_case()
    inputs = collect_experiment(make_experiment(case), output=case.root, commands=["trainer experiment e.toml"])
    check(look(render_experiment(inputs, language=language), tmp_path))


def test_the_probe_sees_a_fault(tmp_path: Path) -> None:
    wide = "<!doctype html><html><body><p style='width:2000px'>x</p><img src='gone.png'></body></html>"
    said = look(wide, tmp_path)["390"]
    assert said["scroll"] > 390
    assert len(said["outside"]) == 1
    assert said["broken"] == 1


def test_an_error_on_the_console_is_seen(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="CONSOLE"):
        look("<!doctype html><html><body><p>x</p><script>nothing.here()</script></body></html>", tmp_path)


def test_on_paper_no_table_is_cut_off(inputs: ReportInputs, make_case, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """A4 between margins of 1 cm is 718 px wide; what holds for paper is made to hold for the window."""
    case = make_case()
    experiment = collect_experiment(make_experiment(case), output=case.root)
    for html in (render_report(inputs), render_experiment(experiment)):
        said = look(html.replace("@media print", "@media all"), tmp_path, widths=(718,))["718"]
        assert (said["scrolling"], said["overlapping"], said["outside"]) == (0, 0, [])


def test_it_prints(inputs: ReportInputs, tmp_path: Path) -> None:
    page, paper = tmp_path / "report.html", tmp_path / "report.pdf"
    page.write_text(render_report(inputs, language="zh"), encoding="utf-8")
    done = browse(page, tmp_path / "profile", f"--print-to-pdf={paper}", "--no-pdf-header-footer")
    assert "CONSOLE" not in done.stderr
    pages = len(re.findall(rb"/Type\s*/Page\b", paper.read_bytes()))
    assert 3 <= pages <= 25
