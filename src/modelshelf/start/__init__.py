"""Starting an engine quickly and ending it cleanly, on the standard library alone.

The folder is flat and imports nothing but `shelf` below it. Pods mount both, and `python3 -I -S
/modelshelf/start/__main__.py` runs it there.
"""
