"""Which files of a repository an engine needs: pure functions from names and a few small texts.

`kinds` judges one name, `weights` finds the first whole copy of a folder's weights, `gguf` the one
quantisation, `code` what a configuration wants run, `layouts` what each engine usually takes, and
`choose` puts them together with the user's globs and the policy.
"""

from modelshelf.select.choose import Selection, choose, needed_texts, servable

__all__ = ["Selection", "choose", "needed_texts", "servable"]
