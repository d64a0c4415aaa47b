"""Pages in a real browser: how wide they are where there is little room."""

import re
import shutil
import subprocess

import pytest

needs_chromium = pytest.mark.skipif(
    not shutil.which("chromium"), reason="needs a browser: tests/install_browser.sh"
)

_PROBE = """<!doctype html><body>
<iframe id=f src="{name}" style="width:{width}px;height:800px;border:0"></iframe>
<script>f.onload = () => {{
  const page = f.contentDocument, all = [...page.body.querySelectorAll("*")];
  const hidden = all.filter(e => getComputedStyle(e).overflowX == "hidden");
  const clipped = hidden.filter(e => e.scrollWidth > e.clientWidth);
  document.body.append(`widths ${{f.clientWidth}} ${{page.documentElement.scrollWidth}} ${{clipped.length}}.`)
}}</script>"""


def shown(card, width, folder):
    """Opens a page in a window of a width.

    Returns:
        How wide the window and the page are, in pixels, and how many elements are cut off.
    """
    name = "shown.html"
    (folder / name).write_bytes(card.read_bytes())
    (folder / "probe.html").write_text(_PROBE.format(name=name, width=width), encoding="utf-8")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--dump-dom"]
    options += ["--disable-background-networking", "--allow-file-access-from-files"]
    options += [f"--window-size={width + 100},1000", f"--user-data-dir={folder / 'profile'}"]
    done = subprocess.run(
        ["chromium", *options, "--virtual-time-budget=5000", f"file://{folder / 'probe.html'}"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    found = re.search(r"widths (\d+) (\d+) (\d+)\.", done.stdout)
    assert found, done.stdout[-500:] + done.stderr[-500:]
    return tuple(map(int, found.groups()))
