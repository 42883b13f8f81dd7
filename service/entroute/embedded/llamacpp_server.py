"""The llama.cpp server's process; it leaves when its standard input ends, that is, with its parent.

Alone: `python -m entroute.embedded.llamacpp_server --model FILE --name NAME --port PORT
--threads 1 --slots 4 --context-length 4096`, ended by end-of-file (Ctrl-D).
"""

import argparse
import sys
from typing import Any

# llama.cpp keeps evicted prompts in memory, by default up to 8 GiB for each engine.
PROMPT_CACHE_MIB = 512


def main(arguments: list[str]) -> None:
    """Serve until the standard input ends.

    Args:
        arguments: Command-line options, see the module.

    Raises:
        SystemExit: `xllamacpp` is missing, or llama.cpp refused; its own lines above say why.
    """
    options = _parser().parse_args(arguments)
    try:
        import xllamacpp  # noqa: PLC0415  an optional package, needed in this process only
    except ImportError as error:
        raise SystemExit(
            f"xllamacpp cannot be imported ({error}): install entroute[llamacpp]"
        ) from error
    try:
        server = xllamacpp.Server(configure(xllamacpp.CommonParams(), options))
    except RuntimeError as error:
        raise SystemExit(f"llama.cpp did not start with {options.model}: {error}") from error
    while sys.stdin.buffer.read(4096):
        pass
    del server


def configure(params: Any, options: argparse.Namespace) -> Any:
    """Fill llama.cpp's parameters from the options and return them."""
    params.model.path = options.model
    params.model_alias = {options.name}
    params.port = options.port
    params.n_parallel = options.slots
    # llama.cpp divides its context among the slots.
    params.n_ctx = options.context_length * options.slots
    for threads in (params.cpuparams, params.cpuparams_batch):
        threads.n_threads = options.threads
        # Sleep between batches at once: spinning takes cores from the other engines.
        threads.poll = 0
    params.endpoint_metrics = True
    # It shows the prompts of every slot, and any web page may call an open-to-all server.
    params.endpoint_slots = False
    params.cors_origins = ""
    params.ui = False
    params.cache_ram_mib = PROMPT_CACHE_MIB
    return params


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="llamacpp_server")
    parser.add_argument("--model", required=True)
    parser.add_argument("--name", required=True)
    for option in ("--port", "--threads", "--slots", "--context-length"):
        parser.add_argument(option, type=int, required=True)
    return parser


if __name__ == "__main__":
    main(sys.argv[1:])
