"""A llama.cpp server that embeds, until its standard input ends.

python -m tests.e2e.embedding_server FILE NAME PORT
"""

import sys

import xllamacpp

CONTEXT_LENGTH = 512


def main(path: str, name: str, port: int) -> None:
    """Serve the mean of a model's last layer over the tokens of an input."""
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.model_alias = {name}
    params.port = port
    params.embedding = True
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    # An input is read in one batch.
    params.n_ctx = params.n_batch = params.n_ubatch = CONTEXT_LENGTH
    params.n_parallel = 1
    params.ui = False
    for threads in (params.cpuparams, params.cpuparams_batch):
        threads.n_threads = 1
        threads.poll = 0
    server = xllamacpp.Server(params)
    sys.stdin.buffer.read()
    del server


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
