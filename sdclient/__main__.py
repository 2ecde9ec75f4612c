"""`python -m sdclient`."""

from .cli import main

main()
