"""Certificates for servers on loopback, signed by an authority made for the occasion."""

from __future__ import annotations

import dataclasses
import os
import ssl
from collections.abc import Sequence

import trustme


@dataclasses.dataclass(frozen=True, slots=True)
class Certificate:
    """PEM files of one server's certificate.

    Attributes:
        authority: What a client trusts: the value for SSL_CERT_FILE.
        chain: The server's certificate.
        key: Its private key.
    """

    authority: str
    chain: str
    key: str

    def context(self) -> ssl.SSLContext:
        """A server's side of TLS."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain, self.key)
        return context


def make_certificate(
    folder: str | os.PathLike[str], names: Sequence[str] = ("127.0.0.1", "localhost")
) -> Certificate:
    """Write a certificate for some names and addresses, and its authority, into a folder."""
    made = Certificate(*(os.path.join(folder, f"{n}.pem") for n in ("authority", "chain", "key")))
    authority = trustme.CA()
    server = authority.issue_cert(*names)
    authority.cert_pem.write_to_path(made.authority)
    for blob in server.cert_chain_pems:
        blob.write_to_path(made.chain, append=True)
    server.private_key_pem.write_to_path(made.key)
    return made
