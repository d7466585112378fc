"""Which files of a repository an engine needs: pure functions of file names and a few small texts.

- `file_kinds` judges a file by its name.
- `weights` finds the first complete copy of the weights in a folder.
- `quantisations` finds the one GGUF model, and its projector.
- `auto_map` finds the code that a configuration asks an engine to run.
- `engine_choice` is what each engine takes from a repository by default.
- `choose` combines these with the user's patterns and with the policy on unsafe files.
"""

from modelshelf.select.choose import SelectedFiles, choose, needed_texts, servable
from modelshelf.select.quantisations import matches

__all__ = ["SelectedFiles", "choose", "matches", "needed_texts", "servable"]
