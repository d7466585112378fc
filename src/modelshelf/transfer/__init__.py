"""Pulls: bringing a model to a shelf, whole and verified, on the standard library alone.

The folder is flat and imports nothing but `shelf` below it. Pods mount both, and `python3 -I -S
/modelshelf/transfer/__main__.py` runs it there. Read it from `ranges`, `retries` and `meter`
upwards.
"""
