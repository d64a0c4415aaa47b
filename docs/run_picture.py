"""Draws docs/run.svg: the default run as it looks in a terminal. Run it in the root of the repository.

python docs/run_picture.py
"""

import io
import os
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from pipeline.config import load_config
from pipeline.run.pipeline import run_pipeline

REPOSITORY = Path(__file__).parents[1]


def main() -> None:
    """Runs pipeline.yaml in a folder of its own."""
    console = Console(record=True, file=io.StringIO(), width=154, color_system="truecolor")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(REPOSITORY / "data" / "dates", Path(folder, "data", "dates"))
        shutil.copy(REPOSITORY / "pipeline.yaml", folder)
        os.chdir(folder)
        console.print("[bold green]$[/] rnnpipe run")
        sys.argv[0] = "rnnpipe"  # by which the run says how to go on
        code = run_pipeline(load_config(Path("pipeline.yaml")), console, "pipeline.yaml")
    if code:
        raise SystemExit(console.export_text())
    console.save_svg(str(REPOSITORY / "docs" / "run.svg"), title="rnnpipe")


if __name__ == "__main__":
    main()
