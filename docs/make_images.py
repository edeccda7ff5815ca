"""The pictures of the README, from the runs of `make demo`: `make docs`.

The terminal is what `fitwell resume` prints of the finished run; the report is photographed by
headless Chromium, where there is one.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
RUN = Path("runs") / "demo-sick"
COMMAND = "fitwell improve digits model.activation=sigmoid optim.lr=0.01"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
# rich's own frame without its web font: a picture in a README should load nothing.
FRAME = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width;
}}
{styles}
</style>
<defs>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})">
{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g>
</g>
</svg>
"""


def terminal(path: Path) -> None:
    """What the finished run prints, in its colours, as an SVG picture."""
    fitwell = Path(sys.executable).with_name("fitwell")
    environment = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": "80"}
    done = subprocess.run(
        [fitwell, "resume", RUN, "--quiet"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        check=True,
        encoding="utf-8",
    )
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=80, file=nowhere, force_terminal=True)
        console.print(Text(f"$ {COMMAND}", "bold"))
        console.print(Text.from_ansi(done.stdout))
        path.write_text(console.export_svg(title="", code_format=FRAME), encoding="utf-8")


def report(path: Path) -> None:
    """The top of the report, as a browser shows it."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print(f"No browser found; {path} stays as it is.")
        return
    page = (ROOT / RUN / "report.html").resolve().as_uri()
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    options += ["--disable-background-networking", "--window-size=1000,1180"]
    done = [browser, *options, f"--screenshot={path}", page]
    subprocess.run(done, check=True, capture_output=True, timeout=120)


def main() -> None:
    if not (ROOT / RUN / "report.html").exists():
        sys.exit(f"{RUN} is not there: run `make demo` first.")
    IMAGES.mkdir(parents=True, exist_ok=True)
    terminal(IMAGES / "terminal.svg")
    report(IMAGES / "report.png")


if __name__ == "__main__":
    main()
