"""`python -m modelshelf`: the command line."""

from modelshelf.cli.main import entry

if __name__ == "__main__":
    entry()
