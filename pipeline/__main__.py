"""`python -m pipeline` does what `rnnpipe` does."""

from pipeline.cli import main

main()
