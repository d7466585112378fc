"""The llama.cpp process: its parameters, and how it stops listening. No model is needed."""

from __future__ import annotations

import socket

import pytest
import xllamacpp

from modelshelf.engines import llamacpp_server
from modelshelf.engines.listening_sockets import (
    bind_errno,
    connectable_address,
    count_connections,
    stop_listening,
)

MODEL = ["--model", "/m.gguf", "--name", "org/name", "--port", "0"]


def parameters(*arguments: str) -> object:
    """llama.cpp's parameters for a command line."""
    options = llamacpp_server._parse_arguments([*MODEL, *arguments])
    common_params = xllamacpp.CommonParams()
    llamacpp_server._set_parameters(common_params, options)
    for text in options.param:
        llamacpp_server._set_parameter(common_params, text)
    return common_params


def fields_of(source: object, *names: str) -> list[object]:
    """The values of some fields of llama.cpp's parameters."""
    return [getattr(source, name) for name in names]


def test_llamacpp_is_offline_and_has_no_web_page() -> None:
    """llama.cpp downloads nothing, has no web page, and serves the model under its name."""
    found = parameters("--threads", "3")
    names = ("offline", "ui", "model_alias", "hostnames", "endpoint_metrics", "endpoint_slots")
    assert fields_of(found, *names) == [True, False, {"org/name"}, ["127.0.0.1"], True, False]
    assert fields_of(getattr(found, "cpuparams"), "n_threads") == [3]  # noqa: B009 - it has no type


def test_each_request_gets_its_context() -> None:
    """The context length is that of each request that is worked on at once."""
    found = parameters("--context-length", "512", "--parallel", "3")
    assert fields_of(found, "n_ctx", "n_parallel", "kv_unified") == [1536, 3, False]


def test_without_a_length_one_context_is_shared() -> None:
    """The model's own length is not multiplied by the number of parallel requests."""
    assert fields_of(parameters("--parallel", "3"), "n_ctx", "kv_unified") == [0, True]


def test_any_field_can_be_set() -> None:
    """`--param` converts a value to the type of the field: a number, text, or a truth value."""
    assignments = (
        "n_batch=64",
        "warmup=false",
        "chat_template=chatml",
        "cpuparams_batch.n_threads=2",
    )
    found = parameters(*(word for text in assignments for word in ("--param", text)))
    assert fields_of(found, "n_batch", "warmup", "chat_template") == [64, False, "chatml"]


@pytest.mark.parametrize(
    "text", ["n_batch", "n_batch=many", "nonsense=1", "warmup=1", "sampling=1"]
)
def test_unknown_fields_and_values_are_refused(text: str) -> None:
    """A field or a value that llama.cpp does not know is an error."""
    with pytest.raises((AttributeError, TypeError, ValueError)):
        parameters("--param", text)


@pytest.mark.parametrize(
    ("processing", "deferred", "busy"), [(0, 0, False), (1, 0, True), (0, 2, True)]
)
def test_work_is_read_from_llamacpps_counters(processing: int, deferred: int, busy: bool) -> None:  # noqa: FBT001
    """Requests that run and requests that wait for a slot count as work."""
    metrics = (
        "# TYPE llamacpp:requests_processing gauge\n"
        f"llamacpp:requests_processing {processing}\nllamacpp:n_decode_total 7\n"
        f"llamacpp:requests_deferred {deferred}\n"
    )
    assert llamacpp_server._is_busy(metrics) == busy


def test_a_server_can_stop_listening_and_keep_its_connections() -> None:
    """New connections are refused, open ones still work, and open ones can be counted."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        assert bind_errno(*address) != 0
        with socket.create_connection(address) as client:
            accepted, _ = server.accept()
            with accepted:
                assert count_connections(address[1]) == 1
                stop_listening(address[1])
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection(address)
                accepted.sendall(b"still here")
                assert client.recv(10) == b"still here"
        assert count_connections(address[1]) == 0


@pytest.mark.parametrize(
    ("host", "expected"), [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("10.1.2.3", "10.1.2.3")]
)
def test_a_server_of_all_addresses_is_reached_on_loopback(host: str, expected: str) -> None:
    """An address that stands for all addresses is replaced by loopback."""
    assert connectable_address((host, 8000)) == (expected, 8000)
