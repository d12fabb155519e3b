"""Errors a user can act on: each says the value, the reason and the way out."""

from typing import ClassVar

RESUME = 75  # EX_TEMPFAIL of sysexits.h: no mistake, try again
INTERRUPTED = 130  # 128 + SIGINT, as shells show it


class MMGError(Exception):
    """Base of every error this package raises on purpose.

    Attributes:
        exit_code: what a process that ends with this error exits with.
    """

    exit_code: ClassVar[int] = 2


class ConfigError(MMGError):
    """The configuration does not say what can be run."""


class DataError(MMGError):
    """The input table cannot be read as samples x variables."""


class StoreError(MMGError):
    """A run's storage cannot be read or written, or holds something else than expected."""


class FingerprintError(StoreError):
    """The URL holds a run of another fingerprint; nothing was touched."""


class VersionError(StoreError):
    """Another version of this package wrote a run: its numbers or its files are not those of this one."""


class RunError(MMGError):
    """Some shards of a run failed; the others are stored, and running again tries the rest."""

    exit_code = 1


class Drained(MMGError):
    """A run stopped early because it was asked to; what is finished is stored, `run` again goes on."""

    exit_code = RESUME
