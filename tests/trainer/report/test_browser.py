"""The report in a real browser: it fits its window, loads nothing, and runs no script."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from trainer.report import ReportInputs, write_report

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
)
PROBE = """<script>
const wide = [...document.querySelectorAll('body *')].filter(
  e => !e.closest('.scroll') && !e.closest('svg') && e.getBoundingClientRect().right > innerWidth + 1);
document.title = [innerWidth, document.documentElement.scrollWidth, wide.length,
  performance.getEntriesByType('resource').length,
  [...document.images].filter(i => !i.complete || !i.naturalWidth).length].join(' ');
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [500, 1280])
def test_nothing_overflows_and_nothing_is_loaded(inputs: ReportInputs, tmp_path: Path, width: int) -> None:
    """500 px is the narrowest window that every headless Chromium makes."""
    page = tmp_path / "report.html"
    write_report(page, inputs)
    html = page.read_text(encoding="utf-8")
    assert html.rstrip().endswith("</html>")
    page.write_text(html.replace("</body>", f"{PROBE}</body>"), encoding="utf-8")
    assert CHROMIUM is not None
    done = subprocess.run(
        [CHROMIUM, *OPTIONS, f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900", "--dump-dom",
         page.as_uri()],
        capture_output=True, text=True, encoding="utf-8", timeout=120, check=True,
    )  # fmt: skip
    title = re.search(r"<title>([\d ]+)</title>", done.stdout)
    assert title is not None, done.stderr
    inner, scroll, too_wide, resources, broken = map(int, title.group(1).split())
    assert inner == width
    assert scroll <= width
    assert (too_wide, resources, broken) == (0, 0, 0)
