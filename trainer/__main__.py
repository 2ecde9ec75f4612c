"""`python -m trainer`."""

from .cli import main

main()
