"""Certificates for servers on loopback, signed by an authority of the test."""

from __future__ import annotations

import dataclasses
import os
import ssl
from collections.abc import Sequence

import trustme


@dataclasses.dataclass(frozen=True, slots=True)
class Certificate:
    """The PEM files of a server's certificate.

    Attributes:
        authority: The authority that a client must trust; the value for SSL_CERT_FILE.
        chain: The server's certificate.
        key: Its private key.
    """

    authority: str
    chain: str
    key: str

    def context(self) -> ssl.SSLContext:
        """The server's TLS context."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain, self.key)
        return context


def make_certificate(
    folder: str | os.PathLike[str], names: Sequence[str] = ("127.0.0.1", "localhost")
) -> Certificate:
    """Write a certificate for some names and addresses, and its authority, into a folder."""
    certificate = Certificate(
        *(os.path.join(folder, f"{n}.pem") for n in ("authority", "chain", "key"))
    )
    authority = trustme.CA()
    server = authority.issue_cert(*names)
    authority.cert_pem.write_to_path(certificate.authority)
    for blob in server.cert_chain_pems:
        blob.write_to_path(certificate.chain, append=True)
    server.private_key_pem.write_to_path(certificate.key)
    return certificate
