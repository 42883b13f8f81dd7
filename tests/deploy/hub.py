"""A model hub on this machine: enough of the Hugging Face hub's API to fetch a repository from."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass(slots=True)
class Hub:
    """A hub that holds one model.

    Attributes:
        model: Name of the model.
        files: Its files.
        missing: Those that it lists and cannot give.
        url: Where the hub is.
        asked: Paths that were asked for.
        tokens: Keys that came with the questions.
    """

    model: str
    files: Mapping[str, bytes]
    missing: AbstractSet[str] = frozenset()
    url: str = ""
    asked: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)

    def answer(self, path: str) -> tuple[int, Mapping[str, str], bytes]:
        """Return status, headers and body for a path."""
        if path.startswith("/api/models/"):
            said = self._tree() if "/tree/" in path else self._about()
            return 200, {"Content-Type": "application/json"}, json.dumps(said).encode()
        name = path.removeprefix(f"/{self.model}/resolve/").partition("/")[2]
        if name not in self.files or name in self.missing:
            return 404, {}, b"{}"
        body = self.files[name]
        return 200, {"ETag": f'"{_digest(body)}"', "X-Repo-Commit": COMMIT}, body

    def _about(self) -> dict[str, Any]:
        siblings = [{"rfilename": name} for name in self.files]
        return {"id": self.model, "sha": COMMIT, "siblings": siblings}

    def _tree(self) -> list[dict[str, Any]]:
        return [
            {"type": "file", "path": name, "size": len(body), "oid": _digest(body)}
            for name, body in self.files.items()
        ]


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@contextmanager
def hub(
    model: str, files: Mapping[str, bytes], missing: AbstractSet[str] = frozenset()
) -> Iterator[Hub]:
    """Serve a model until the block ends."""
    there = Hub(model, files, missing)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            there.asked.append(self.path)
            there.tokens.add(self.headers.get("Authorization", ""))
            status, headers, body = there.answer(self.path.partition("?")[0])
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 - the base class calls it so

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    there.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield there
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
