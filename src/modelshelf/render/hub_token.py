"""The Secret with the Hub's token, which only pull Jobs see. Pure."""

import base64

from modelshelf.config.file import Config
from modelshelf.render.names import PULL, Object, fitted, labels

TOKEN_KEY = "token"  # noqa: S105 (the name of a Secret's key)


def token_secret(config: Config, token: str) -> Object:
    """The Secret that `up` applies. It is never written to a file."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": token_secret_name(config),
            "namespace": config.namespace,
            "labels": labels(config, PULL, "hub-token"),
        },
        "type": "Opaque",
        "data": {TOKEN_KEY: base64.b64encode(token.encode()).decode()},
    }


def token_secret_name(config: Config) -> str:
    """The name of our own Secret, which need not exist."""
    return fitted(config.name, "hub-token")
