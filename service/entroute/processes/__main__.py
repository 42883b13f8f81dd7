"""What a supervisor starts: `python -m entroute.processes CHANNEL LISTENER`."""

import sys

from entroute.processes.child import main

# Not guarded: helpers that re-import a program's main module leave `__main__.py` files alone.
sys.exit(main(sys.argv[1:]))
