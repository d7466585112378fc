"""What the llama.cpp process decides without a model."""

from __future__ import annotations

import socket

import pytest
import xllamacpp

from modelshelf.engines import llamacpp_server
from modelshelf.engines.listening import bind_errno, connections, reachable, stop_listening

MODEL = ["--model", "/m.gguf", "--name", "org/name", "--port", "0"]


def parameters(*arguments: str) -> object:
    """llama.cpp's parameters after a command line was read into them."""
    options = llamacpp_server._parse([*MODEL, *arguments])
    filled = xllamacpp.CommonParams()
    llamacpp_server._fill(filled, options)
    for text in options.param:
        llamacpp_server._set(filled, text)
    return filled


def read(source: object, *names: str) -> list[object]:
    """Some fields of llama.cpp's parameters."""
    return [getattr(source, name) for name in names]


def test_llamacpp_is_kept_offline_and_plain() -> None:
    """It may fetch nothing, shows no page of its own, and calls the model by its name."""
    filled = parameters("--threads", "3")
    fields = ("offline", "ui", "model_alias", "hostnames", "endpoint_metrics", "endpoint_slots")
    assert read(filled, *fields) == [True, False, {"org/name"}, ["127.0.0.1"], True, False]
    assert read(getattr(filled, "cpuparams"), "n_threads") == [3]  # noqa: B009 - it has no type


def test_each_request_gets_its_context() -> None:
    """A context length is meant for each of the requests worked on at once."""
    filled = parameters("--context-length", "512", "--parallel", "3")
    assert read(filled, "n_ctx", "n_parallel", "kv_unified") == [1536, 3, False]


def test_without_a_length_one_context_is_shared() -> None:
    """The model's own length is not multiplied by the requests worked on at once."""
    assert read(parameters("--parallel", "3"), "n_ctx", "kv_unified") == [0, True]


def test_any_field_can_be_set() -> None:
    """`--param` reads a value as what the field holds: a number, text, true or false."""
    set_ = ("n_batch=64", "warmup=false", "chat_template=chatml", "cpuparams_batch.n_threads=2")
    filled = parameters(*(word for text in set_ for word in ("--param", text)))
    assert read(filled, "n_batch", "warmup", "chat_template") == [64, False, "chatml"]


@pytest.mark.parametrize(
    "text", ["n_batch", "n_batch=many", "nonsense=1", "warmup=1", "sampling=1"]
)
def test_fields_that_are_not_there_are_refused(text: str) -> None:
    """A field or value that llama.cpp does not know is an error, not ignored."""
    with pytest.raises((AttributeError, TypeError, ValueError)):
        parameters("--param", text)


@pytest.mark.parametrize(
    ("processing", "deferred", "busy"), [(0, 0, False), (1, 0, True), (0, 2, True)]
)
def test_work_is_read_from_llamacpps_counters(processing: int, deferred: int, busy: bool) -> None:  # noqa: FBT001
    """Requests under way or waiting for a slot are work."""
    metrics = (
        "# TYPE llamacpp:requests_processing gauge\n"
        f"llamacpp:requests_processing {processing}\nllamacpp:n_decode_total 7\n"
        f"llamacpp:requests_deferred {deferred}\n"
    )
    assert llamacpp_server._busy(metrics) == busy


def test_a_server_can_stop_listening_and_keep_its_connections() -> None:
    """New connections are refused, those that are there still work, and both can be counted."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        assert bind_errno(*address) != 0
        with socket.create_connection(address) as client:
            accepted, _ = server.accept()
            with accepted:
                assert connections(address[1]) == 1
                stop_listening(address[1])
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection(address)
                accepted.sendall(b"still here")
                assert client.recv(10) == b"still here"
        assert connections(address[1]) == 0


@pytest.mark.parametrize(
    ("host", "reached"), [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("10.1.2.3", "10.1.2.3")]
)
def test_a_server_of_all_addresses_is_reached_on_loopback(host: str, reached: str) -> None:
    """An address that stands for all is none to connect to."""
    assert reachable((host, 8000)) == (reached, 8000)
