"""Local engines that a tier can own: model catalogue, weights, and their child processes.

Read in this order: `catalogue` (which models), `weights` (from where), `engine` (what a tier
holds), `llamacpp` and `vllm` (two engines), `process` (how their child is watched).
"""
