"""`python -m gatewise` is `gatewise`."""

from gatewise.cli import main

main()
