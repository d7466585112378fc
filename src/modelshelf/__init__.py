"""modelshelf: download a model once, serve it from every pod."""
