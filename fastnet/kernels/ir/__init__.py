"""What NumPy has no name for, as LLVM IR, each with a fallback in plain Python: the only place that knows registers."""
