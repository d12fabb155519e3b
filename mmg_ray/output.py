"""What commands write for people and pipes: files whole or not at all, a pipe that closes is no error."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import sys
from collections.abc import Iterator
from typing import BinaryIO

import click

from mmg_ray.errors import StoreError
from mmg_ray.names import visible

HELP = {"help_option_names": ["-h", "--help"]}  # of every command, however it is called
PIPE_CLOSED = 141  # 128 + SIGPIPE, as shells show it of other programs


def say(text: object = "", err: bool = False, nl: bool = True) -> None:
    """`click.echo` of lines in which no name can control the terminal."""
    click.echo(visible(str(text), lines=True), err=err, nl=nl)


@contextlib.contextmanager
def writing(file: str) -> Iterator[BinaryIO]:
    """A local file that is there when all is written, and not before; "-" is standard output.

    StoreError where it cannot be written, with the file that was there as it was.
    """
    if file == "-":
        yield sys.stdout.buffer
        return
    temporary = f"{file}.{secrets.token_hex(8)}.tmp"
    try:
        # a device or a pipe cannot be renamed over
        plain = not os.path.exists(file) or os.path.isfile(file)
        with open(temporary if plain else file, "wb") as stream:
            yield stream
        if plain:
            os.replace(temporary, file)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StoreError(
            f"cannot write {file}: {error.strerror or error}; nothing of it was kept"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            os.remove(temporary)


@contextlib.contextmanager
def standard_output() -> Iterator[None]:
    """Where a command runs. BrokenPipeError when its reader has stopped, StoreError when it is full."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        _silence()
        raise
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EFBIG):
            raise
        _silence()
        raise StoreError(
            f"cannot write the output: {error.strerror}; what was written is not whole"
        ) from None


def _silence() -> None:
    """What is still buffered goes nowhere, so that Python says nothing of it when it ends."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
