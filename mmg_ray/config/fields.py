"""Types of fields that several sections share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict

from mmg_ray.url_secrets import require_no_secret

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


def _as_texts(value: Any) -> Any:
    """A list of names as people write it: one name, or a list, numbers and booleans included."""
    items = value if isinstance(value, list | tuple) else [value]
    return tuple(str(v) if isinstance(v, int | float) else v for v in items)


MAX_SEED = 2**63 - 1


Texts = Annotated[tuple[str, ...], BeforeValidator(_as_texts)]


def _is_url(url: str) -> str:
    if not url.strip() or any(ord(character) < 32 or ord(character) == 127 for character in url):
        raise ValueError("no URL or path: it is empty or has control characters")
    require_no_secret(url)  # it would be stored with the run
    return url


Url = Annotated[str, AfterValidator(_is_url)]
