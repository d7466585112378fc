"""The certificates of one cluster, made by openssl in the blink of an eye each."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from lab.parts import run

# Elliptic curves: a key takes 10 ms, where RSA takes half a second.
_CURVE = ("ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
_DAYS = ("-days", "30")


@dataclasses.dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, both PEM files."""

    certificate: Path
    key: Path


class Authority:
    """Signs for a cluster.

    Args:
        folder: Where certificates and keys lie; made if need be.

    Attributes:
        certificate: What clients trust.
        account_key: The key that signs service accounts' tokens.
        account_public: Its public half.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.certificate = folder / "ca.crt"
        self._key = folder / "ca.key"
        self.account_key = folder / "accounts.key"
        self.account_public = folder / "accounts.pub"
        new: list[str | Path] = [
            "openssl",
            "req",
            "-x509",
            "-nodes",
            "-newkey",
            *_CURVE,
            *_DAYS,
            "-subj",
            "/CN=lab",
        ]
        run([*new, "-keyout", self._key, "-out", self.certificate])
        curve = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        run(["openssl", "genpkey", *curve, "-out", self.account_key])
        public = f"{self.account_public}"
        run(["openssl", "pkey", "-in", self.account_key, "-pubout", "-out", public])

    def certify(self, name: str, subject: str, names: Sequence[str] = ()) -> Pair:
        """Make a pair.

        Args:
            name: What its files are called.
            subject: As `/O=system:masters/CN=admin`: groups and user.
            names: What a server is called, as `IP:127.0.0.1` and `DNS:localhost`.
        """
        pair = Pair(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        request = self._folder / f"{name}.csr"
        new: list[str | Path] = ["openssl", "req", "-nodes", "-newkey", *_CURVE, "-subj", subject]
        run([*new, "-keyout", pair.key, "-out", request])
        sign: list[str | Path] = [
            "openssl",
            "x509",
            "-req",
            "-in",
            request,
            "-CA",
            self.certificate,
            *_DAYS,
        ]
        sign += ["-CAkey", self._key, "-CAcreateserial", "-out", pair.certificate]
        if names:
            extensions = self._folder / f"{name}.ext"
            extensions.write_text(f"subjectAltName={','.join(names)}\n", encoding="utf-8")
            sign += ["-extfile", extensions]
        run(sign)
        return pair

    def kubeconfig(self, server: str, pair: Pair, namespace: str = "default") -> str:
        """A kubeconfig that holds all it needs, as JSON, which is YAML too.

        Source: https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
        """
        ca, certificate, key = (
            base64.b64encode(path.read_bytes()).decode()
            for path in (self.certificate, pair.certificate, pair.key)
        )
        cluster = {"server": server, "certificate-authority-data": ca}
        user = {"client-certificate-data": certificate, "client-key-data": key}
        context = {"cluster": "lab", "user": "lab", "namespace": namespace}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": cluster}],
            "users": [{"name": "lab", "user": user}],
            "contexts": [{"name": "lab", "context": context}],
            "current-context": "lab",
        }
        return json.dumps(config, indent=2) + "\n"
