"""Starting an engine quickly and stopping it cleanly, with the standard library alone.

This folder has no folders in it, and imports nothing but `shelf`. Pods mount both packages and run
`python3 -I -S /modelshelf/start/__main__.py`.
"""
