"""Pulls: bringing a model to a shelf, whole and verified, on the standard library alone.

The folder is flat. Besides itself it imports only `shelf`. Pods mount both, and `python3 -I -S
/modelshelf/transfer/__main__.py` runs it there. Read it from `ranges`, `ramp`, `retries` and
`meter` upwards.
"""
