"""The compiled engine. Nothing outside this folder imports numba; nothing in it imports the rest of fastnet."""
