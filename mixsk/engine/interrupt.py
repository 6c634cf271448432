"""Ctrl-C, told from a KeyboardInterrupt that a callback raises to end the training."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def ctrl_c() -> Iterator[list[int]]:
    """Within it Ctrl-C does what it did, and leaves its mark in the list.

    Signals reach the main thread alone; in another the list stays empty.

    Examples
    --------
    >>> with ctrl_c() as pressed:
    ...     try:
    ...         raise KeyboardInterrupt
    ...     except KeyboardInterrupt:
    ...         bool(pressed)
    False
    """
    pressed: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield pressed
        return

    def mark(number: int, frame: FrameType | None) -> None:
        pressed.append(number)
        before(number, frame)

    signal.signal(signal.SIGINT, mark)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)
