"""`python -m fastnet.mpi script.py`: see `fastnet/mpi/__main__.py`."""
