"""`python -m gatewise` is `gatewise`."""

from gatewise.cli import entry

entry()
