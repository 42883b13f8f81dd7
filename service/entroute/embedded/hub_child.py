"""The hub's client in a process of its own: `python -m <this module> REPOSITORY FILE FOLDER`."""

import sys
from pathlib import Path

ANSWER_TIMEOUT_S = 3.0


def main(arguments: list[str]) -> None:
    """Ask once whether the file is there, without retries, then download it with them.

    Args:
        arguments: Repository, file inside it, and the folder to download into.

    Raises:
        Exception: Whatever the client raises; the parent shows its last line.
    """
    import huggingface_hub as hub  # noqa: PLC0415  optional, and slow to import

    repository, file, directory = arguments
    hub.get_hf_file_metadata(hub.hf_hub_url(repository, file), timeout=ANSWER_TIMEOUT_S)
    # A first byte for the watching parent: the hub answered, be patient from now on.
    with (Path(directory) / "answered").open("a", encoding="utf-8") as marker:
        marker.write("1")
    hub.hf_hub_download(repository, file, local_dir=directory)


if __name__ == "__main__":
    main(sys.argv[1:])
