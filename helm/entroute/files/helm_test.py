# ruff: noqa: INP001 - it is handed to a pod as it is
"""What `helm test` asks a gateway: is it ready, does it know its tiers, does it keep its door."""

import json
import os
import sys
import urllib.error
import urllib.request

OK, UNAUTHORIZED = 200, 401
PATIENCE_S = 10


def ask(path: str) -> tuple[int, bytes]:
    """Return status and body."""
    key = os.environ.get("API_KEY")
    headers = {"authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(os.environ["GATEWAY"] + path, headers=headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:  # noqa: S310
            return answer.status, answer.read()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read()


def main() -> str:
    """Return what is wrong, nothing where all is well."""
    status, body = ask("/readyz")
    if status != OK:
        return f"/readyz answered {status}: {body[:200]!r}"
    status, body = ask("/v1/models")
    if status == UNAUTHORIZED and os.environ["NEEDS_KEY"] == "yes" and "API_KEY" not in os.environ:
        return ""  # the door is shut, as it should be; test.apiKey would open it
    if status != OK:
        return f"/v1/models answered {status}: {body[:200]!r}"
    if os.environ["NEEDS_KEY"] == "yes" and "API_KEY" not in os.environ:
        return "/v1/models answered without a key although keys are configured"
    known = {model["id"] for model in json.loads(body)["data"]}
    missing = [name for name in os.environ["TIERS"].split(",") if name not in known]
    return f"no tier is called {', '.join(missing)}; there are {sorted(known)}" if missing else ""


wrong = main()
print(wrong or f"{os.environ['GATEWAY']} is ready")  # noqa: T201
sys.exit(bool(wrong))
