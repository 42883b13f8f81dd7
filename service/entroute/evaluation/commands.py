"""Every offline command; importing them takes the extra `learning`."""

import typer

from entroute.evaluation import (
    commands_bank,
    commands_calibrate,
    commands_replay,
    commands_route_eval,
)


def register(app: typer.Typer) -> None:
    """Add every offline command to a command line."""
    for module in (commands_bank, commands_calibrate, commands_replay, commands_route_eval):
        module.register(app)
