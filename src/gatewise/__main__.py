"""`python -m gatewise` runs the same command line as `gatewise`."""

from gatewise.shell.cli import entry

entry()
