"""The asv suite: `scripts/bench`."""
