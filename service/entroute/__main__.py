"""`python -m entroute`."""

from entroute.cli import main

main()
