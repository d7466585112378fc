"""A shelf: the folder of models that many hosts share, on the standard library alone.

The folder is flat. Pods mount it as `/modelshelf/shelf`, and `python3 -I -S
/modelshelf/shelf/__main__.py` runs it there. Read it from `errors`, `events` and `values` upwards.
"""
