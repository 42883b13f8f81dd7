"""Runs programs that a model wrote where they can do no harm; off until the operator asks for it.

Read in this order: `limits`, `seccomp`, `interpreter`, `command` (what a program may use and see),
`runner` (its end of the pipe), `reading`, `child`, `spawning` (ours), `pool`, `checks`,
`bubblewrap`; then `wire`, `server` and `remote`, the same on another machine.
"""

from typing import Annotated

from pydantic import Field

from entroute.sandbox.bubblewrap import BubblewrapConfig, BubblewrapSandbox
from entroute.sandbox.remote import RemoteConfig, RemoteSandbox

SandboxConfig = Annotated[BubblewrapConfig | RemoteConfig, Field(discriminator="kind")]
"""Where programs run, told apart by `kind`."""

__all__ = [
    "BubblewrapConfig",
    "BubblewrapSandbox",
    "RemoteConfig",
    "RemoteSandbox",
    "SandboxConfig",
]
