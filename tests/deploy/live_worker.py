"""A worker for live clusters, of the standard library alone: it runs in the gateway's own image.

It lists one model and answers every chat with the same word.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "small-model"
ANSWER = "pong"
PORT = 8000


def answer() -> dict[str, Any]:
    """Return a chat completion."""
    message = {"role": "assistant", "content": ANSWER}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
    }


class Worker(BaseHTTPRequestHandler):
    """Answers like a model server."""

    def do_GET(self) -> None:
        """List the model."""
        self._say({"object": "list", "data": [{"id": MODEL, "object": "model", "created": 1}]})

    def do_POST(self) -> None:
        """Answer a chat."""
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self._say(answer())

    def _say(self, said: dict[str, Any]) -> None:
        body = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else PORT
    ThreadingHTTPServer(("", port), Worker).serve_forever()
