"""A fake vLLM worker as a real process: `python -m loadtest.fake_worker --port 0`.

Prints one JSON line with its address when ready and exits on SIGTERM. Besides vLLM's endpoints
it has POST /fake/script (change how it behaves), GET /fake/script, and GET or DELETE
/fake/requests (what it received, newest last).
"""

import argparse
import asyncio
import json
import os
import signal
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import uvloop

from loadtest.http1 import Connection
from loadtest.reading import revised
from loadtest.script import Script
from loadtest.sent import opened
from loadtest.worker_app import Served, WorkerApp


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.fake_worker", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--model", action="append", help="a served name; may be repeated")
    parser.add_argument("--api-key", help="demand it as a bearer token under /v1")
    parser.add_argument("--max-model-len", type=int, default=32_768, help="tokens")
    parser.add_argument("--max-num-seqs", type=int, default=256, help="requests at once")
    parser.add_argument("--script", type=json.loads, default={}, help="JSON, as POST /fake/script")
    for name in ("ttft-ms", "tokens-per-second"):
        parser.add_argument(f"--{name}", type=float)
    parser.add_argument("--tokens", type=int, help="length of an answer without a text")
    parser.add_argument("--answer", help="text of every answer")
    parser.add_argument("--name", default=f"w{os.getpid()}", help="in described answers")
    parser.add_argument("--journal", type=Path, help="file for what described answers were sent")
    parser.add_argument("--certainty", type=_certainty, help="confident, unsure or JSON list")
    return parser.parse_args(argv)


async def serve(options: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT."""
    given = {
        key: getattr(options, key)
        for key in ("ttft_ms", "tokens_per_second", "tokens", "answer", "certainty")
        if getattr(options, key) is not None
    }
    models = tuple(options.model or ["fake"])
    served = Served(models, options.api_key, options.max_model_len, options.name)
    script = revised(Script(), {**given, **options.script})
    app = WorkerApp(served, script, options.max_num_seqs, opened(options.journal))
    connections: set[Connection] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(app.handle, connections), options.host, options.port, backlog=1024
    )
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    port = server.sockets[0].getsockname()[1]
    print(json.dumps({"url": f"http://{options.host}:{port}"}), flush=True)
    await stopped.wait()
    server.close()
    for connection in list(connections):
        connection.reset()


def main() -> None:
    """Run the worker."""
    work: Coroutine[Any, Any, None] = serve(arguments())
    uvloop.run(work)


def _certainty(text: str) -> Any:
    return json.loads(text) if text.startswith(("[", "0", "1")) else text


if __name__ == "__main__":
    main()
