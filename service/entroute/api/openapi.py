"""What `/openapi.json` says beside what FastAPI finds by itself."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI

ERROR_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string", "minLength": 1},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
"""OpenAI's error body."""

_ID: dict[str, Any] = {
    "x-request-id": {
        "description": "The request's id: the one it came with, if that was sane.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,128}$"},
    }
}
_KEY = "api_key"


def answered(description: str, required: tuple[str, ...], *, streamed: bool) -> dict[str, Any]:
    """Return how a path that answers prompts describes its 200."""
    schema = {"type": "object", "required": list(required)}
    content: dict[str, Any] = {"application/json": {"schema": schema}}
    if streamed:
        content["text/event-stream"] = {}
    return {"description": description, "content": content}


def described(app: FastAPI, *, keys: bool) -> Callable[[], dict[str, Any]]:
    """Return what makes an application's document: FastAPI's, with ids and keys put into it.

    Args:
        app: The application.
        keys: Whether the paths of the API ask for a key.
    """
    plain = app.openapi

    def made() -> dict[str, Any]:
        document = plain()
        for path, operations in document["paths"].items():
            for operation in operations.values():
                for response in operation["responses"].values():
                    response["headers"] = _ID
                if keys and path.startswith("/v1/"):
                    operation["security"] = [{_KEY: []}]
        if keys:
            schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
            schemes[_KEY] = {"type": "http", "scheme": "bearer"}
        return document

    return made
