"""URLs are stored with a run, logged and shown, so one that carries a secret is refused.

Looked at are every link of a chain (`simplecache::s3://...`), what stands before the host, the names of
parameters in query and fragment, the keys of JSON, and texts that look like a known kind of token.
A path is never looked at: it may hold @, : and = as it likes.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from mmg_ray.errors import StoreError

# Everything after :// is a path, of this machine or of an archive.
_NO_HOST = frozenset(
    [
        "file",
        "local",
        "memory",
        "zip",
        "tar",
        "libarchive",
        "dir",
        "cached",
        "filecache",
        "simplecache",
        "blockcache",
        "reference",
    ]
)
# NAME@HOST is how these say who, or which container; alone it is no secret.
_NAME_BEFORE_HOST = frozenset(
    [
        "ssh",
        "sftp",
        "ftp",
        "ftps",
        "smb",
        "hdfs",
        "webhdfs",
        "webdav",
        "root",
        "az",
        "abfs",
        "abfss",
        "adl",
        "wasb",
        "wasbs",
    ]
)
# org:repository@revision
_REVISION = frozenset({"github", "git"})

# How the name of a parameter ends, without - and _; those of the second kind if the value is long.
_SECRET_ENDINGS = [
    "signature",
    "credential",
    "credentials",
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "apikey",
    "accesskey",
    "accesskeyid",
    "accountkey",
    "sharedkey",
    "secretkey",
    "privatekey",
    "storagekey",
    "subscriptionkey",
    "connectionstring",
    "authorization",
]
_SECRET_NAMES = frozenset(["sig", "sas", "pwd", "pass", "auth", "jwt", "bearer"])
_LONG = 16
_TOKEN = re.compile(r"\b(gh[pousr]_|github_pat_|hf_|glpat-|xox[abprs]-|eyJ)[\w-]{16,}")
_PARAMETER = re.compile(r"[?&#;]([^=&#;?/]+)=([^&#;]+)")
_JSON_KEY = re.compile(r"""["']([\w.-]+)["']\s*:\s*["']?([^"',}]+)""")


def require_no_secret(url: str) -> None:
    """StoreError, which does not show it, for a URL that holds a password, token or signature."""
    for link in url.split("::"):
        scheme, separator, rest = link.partition("://")
        if separator and _has_secret(scheme.strip().lower(), rest):
            raise StoreError(
                f"a URL of {scheme}:// holds a password, token or signature, and URLs are stored "
                "with the run and logged. Leave it out, and give it in the environment, in fsspec's "
                "configuration (~/.config/fsspec/conf.json) or in ~/.netrc; or fetch the file first"
            )


def _has_secret(scheme: str, rest: str) -> bool:
    text = unquote(rest)
    if any(_is_secret(name, value) for name, value in _JSON_KEY.findall(text)):
        return True
    if scheme in _NO_HOST:
        return False
    parameters = [(unquote(name), unquote(value)) for name, value in _PARAMETER.findall(rest)]
    return (
        _TOKEN.search(text) is not None
        or any(_is_secret(name, value) for name, value in parameters)
        or (scheme not in _REVISION and _has_secret_before_host(scheme, rest))
    )


def _has_secret_before_host(scheme: str, rest: str) -> bool:
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    before, at, _ = host.rpartition("@")
    if at:
        return ":" in unquote(before) or scheme not in _NAME_BEFORE_HOST
    # user:pass/word@host: what follows the colon is no port
    name, colon, port = host.rpartition(":")
    if not colon or "@" not in rest or host.startswith("arn:"):
        return False
    return not port.isdigit() or "@" in re.split("/", rest, maxsplit=1)[0] or name == ""


def _is_secret(name: str, value: str) -> bool:
    plain = re.sub(r"[\W_]", "", name).lower()
    if plain.endswith(tuple(_SECRET_ENDINGS)) or plain in _SECRET_NAMES:
        return True
    return plain.endswith("key") and len(value) >= _LONG
