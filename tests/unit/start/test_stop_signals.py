"""Which signals interrupt us, which are only recorded, and what ends a wait."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from modelshelf.start.stop_signals import StopSignals


def test_a_signal_interrupts_until_signals_are_only_recorded() -> None:
    """The first one raises KeyboardInterrupt; later ones are added to the list without it."""
    with StopSignals() as signals:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signals.record_only()
        signal.raise_signal(signal.SIGINT)
        assert signals.received == [signal.SIGTERM, signal.SIGINT]


def test_a_signal_of_before_counts() -> None:
    """What `early_signals` recorded prevents a start."""
    with StopSignals([signal.SIGTERM]) as signals, pytest.raises(KeyboardInterrupt):
        signals.record_only()


def test_a_signal_that_comes_before_a_wait_ends_it() -> None:
    """Nothing is lost between a look at the list and the wait."""
    with StopSignals() as signals:
        signals.record_only()
        os.kill(os.getpid(), signal.SIGTERM)
        began = time.monotonic()
        signals.wait(60)
        assert time.monotonic() - began < 30


def test_another_thread_can_add_a_signal() -> None:
    """The main thread's wait ends, as if somebody had sent the signal."""
    with StopSignals() as signals:
        signals.record_only()
        threading.Timer(0.05, signals.add, [signal.SIGTERM]).start()
        began = time.monotonic()
        signals.wait(60)
        assert time.monotonic() - began < 30
        assert signals.received == [signal.SIGTERM]


def test_the_handlers_of_before_come_back() -> None:
    """After the block a signal means what it meant before."""
    before = signal.getsignal(signal.SIGTERM)
    with StopSignals():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
