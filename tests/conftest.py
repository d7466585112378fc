"""What all tests share."""

from hypothesis import settings

# A database of examples would be written into the tree, which may be read-only.
settings.register_profile("modelshelf", database=None, deadline=None)
settings.load_profile("modelshelf")
