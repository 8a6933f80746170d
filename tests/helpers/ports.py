"""Ports for servers that tests start."""

import os
import random
import socket
from contextlib import suppress


def free_port(first, count=100, taken=(), ip="127.0.0.1"):
    """One of `count` ports from `first` on that nobody listens on, at random.

    Below 32768 the system hands out none by itself, so none is lost between here and its use.
    """
    own = random.Random(os.urandom(8))  # tests seed the shared one
    for port in own.sample(range(first, first + count), count):
        with suppress(OSError), socket.socket() as free:
            free.bind((ip, port))
            if port not in taken:
                return port
    raise OSError(f"no port from {first} to {first + count - 1} is free")
