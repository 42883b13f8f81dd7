"""Answers found by meaning: opt-in, and refused wherever two texts may not mean the same.

Read in this order: `scope` (which requests, and which of them may share), `index` (what is looked
like it), `guards` (why what looks alike is not the same), `semantic` (the cache made of these).
"""
