"""`python -m uptake` is the command line."""

from uptake.cli import main

main()
