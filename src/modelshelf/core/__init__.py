"""What pods run: the shelf and the pull, on the standard library alone.

The folder is flat and self-contained: mounted anywhere, `python3 -I -S core/__main__.py` runs it.
"""
