"""Files: arrays and text, written whole or not at all, read without trust; and fastnet's settings as text."""
