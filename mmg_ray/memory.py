"""Where memory is short: said before a library ends the process without a word, or after Python noticed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from mmg_ray.errors import ConfigError, DataError

# What Python, torch and Arrow reserve (not use) before any data, measured; and OpenBLAS for each core.
_LIBRARIES_BYTES = 1.25 * 2**30
_CORE_BYTES = 0.1 * 2**30


def require_address_space() -> None:
    """ConfigError under a limit (`ulimit -v`) that numerical libraries cannot be loaded under.

    OpenBLAS ends the process with a message of its own, so this comes before it is imported.
    """
    try:
        import resource
    except ImportError:  # not on every system
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    needed = _LIBRARIES_BYTES + (os.cpu_count() or 1) * _CORE_BYTES
    if limit != resource.RLIM_INFINITY and limit < needed:
        raise ConfigError(
            f"the address space of this process is limited to {limit / 2**30:.2g} GiB (ulimit -v), and "
            f"the numerical libraries reserve about {needed / 2**30:.2g} GiB of it before any data, of "
            "which they use little. Raise it (ulimit -v unlimited); to bound the memory that is used, take a container "
            "or cgroup (systemd-run --scope -p MemoryMax=4G)"
        )


@contextlib.contextmanager
def fits(url: str) -> Iterator[None]:
    """DataError where reading the table at `url` needs more memory than there is."""
    try:
        yield
    except MemoryError as error:
        raise DataError(
            f"{url} does not fit into memory ({str(error) or 'no more was given'}). Read less of it "
            "(data.variables, data.samples), keep it sparse, or use a larger machine; where the file is "
            "small, its header is damaged"
        ) from None
