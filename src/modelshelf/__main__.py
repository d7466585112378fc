"""Runs the command line for `python -m modelshelf`."""

from modelshelf.cli.main import entry

if __name__ == "__main__":
    entry()
