"""Runs a built network: memory, calls of the kernels, threads, the loop of a fit. No numba, and nothing of Model."""
