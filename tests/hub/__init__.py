"""A simulator of the Hub on loopback that misbehaves as a test asks; see `hub.simulator.Hub`."""

from hub.content import Content, FileContent, Pattern, safetensors
from hub.faults import Fault
from hub.proxy import Proxy, ProxyRequest
from hub.repository import Entry, Repo
from hub.simulator import Hub
from hub.tls import Certificate, make_certificate
from hub.wire import Request

__all__ = [
    "Certificate",
    "Content",
    "Entry",
    "Fault",
    "FileContent",
    "Hub",
    "Pattern",
    "Proxy",
    "ProxyRequest",
    "Repo",
    "Request",
    "make_certificate",
    "safetensors",
]
