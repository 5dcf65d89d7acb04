"""`python -m gatewise` runs the same command line as `gatewise`."""

from gatewise.cli import entry

entry()
