"""URLs that carry a secret are refused without showing it; those that only look odd are not."""

from __future__ import annotations

import json

import pytest

from mmg_ray import config
from mmg_ray.errors import ConfigError, StoreError
from mmg_ray.store.location import Location
from mmg_ray.url_secrets import require_no_secret

SECRET = [
    "s3://key:hidden@mmg/table.csv",
    "s3://AKIAKEY:hid/den@mmg/table.csv",
    "https://me:hidden@example.org/table.csv",
    "https://hidden@example.org/table.csv",
    "https://me:hid/den@example.org/table.csv",
    "https://me:hid@den@example.org/table.csv",
    "https://me:hid#den@example.org/table.csv",
    "https://me:hid?den@example.org/table.csv",
    "https://me:hid%2Fden%40@example.org/table.csv",
    "HTTPS://me:hidden@example.org/table.csv",
    "ftp://me:1234hidden@example.org/table.csv",
    "sftp://me:hidden@example.org/table.csv",
    "simplecache::https://me:hidden@example.org/table.csv",
    "simplecache::s3://key:hidden@mmg/table.csv",
    "zip://table.csv::https://example.org/a.zip?token=hidden",
    "https://mmg.example.org/table.csv?X-Amz-Date=1&X-Amz-Signature=hidden",
    "https://example.org/table.csv?X-Goog-Credential=hidden&x=1",
    "https://example.org/table.csv?X-Amz-Security-Token=hidden",
    "https://me.blob.core.windows.net/c/table.csv?sv=1&sig=hidden",
    "az://c/table.csv?account_key=hidden",
    "s3://mmg/table.csv?access_key=hidden",
    "s3://mmg/table.csv?AWSAccessKeyId=hidden",
    "https://example.org/table.csv#access_token=hidden",
    "https://example.org/table.csv?access%5Fkey=hidden",
    "https://example.org/table.csv?api-key=hidden",
    "https://example.org/table.csv?key=hidden0123456789abcdef",
    "abfs://c@me.dfs.core.windows.net/table.csv?sas_token=hidden",
    's3://mmg/table.csv?storage_options={"key":"a","secret":"hidden"}',
    "s3://mmg/table.csv?storage_options=%7B%22secret%22%3A%22hidden%22%7D",
    "github://ghp_hiddenhiddenhiddenhidden:repo@main/table.csv",
    "https://raw.example.org/eyJhidden0123456789abcdef/table.csv",
]

HARMLESS = [
    "github://org:repo@main/data/table.csv",
    "git://folder:repo@v1/table.csv",
    "s3://bucket/a@b.csv",
    "s3://bucket/a:b@c/sig=1/token=2.csv",
    "s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/mine/a@b.csv",
    "s3://bucket/table.csv?versionId=abc",
    "file:///data/x?y",
    "file:///data/me@uni.edu/key=1?token=2.csv",
    "memory://box@account/design=1?x=2",
    "https://example.org/me@uni.edu/table.csv",
    "https://example.org/table.csv?design=1&keyword=2&author=me@uni.edu&token_count=3",
    "https://example.org:8443/a:b/table.csv",
    "http://minio:9000/bucket/a@b.csv",
    "abfs://container@account.dfs.core.windows.net/table.csv",
    "sftp://me@example.org/data/table.csv",
    "hf://datasets/org/name@main/table.csv",
    "zip://a@b.csv::https://example.org/a.zip?download=1",
    "/data/me:you@example.org/table.csv?token=1",
    "https://example.org/table.csv?key=genes",
]


@pytest.mark.parametrize("url", SECRET)
def test_a_url_with_a_secret_is_refused_and_not_shown(url: str) -> None:
    for make in (require_no_secret, Location):
        with pytest.raises(StoreError, match="holds a password, token or signature") as refused:
            make(url)
        assert "hid" not in str(refused.value)
        assert "den" not in str(refused.value)


@pytest.mark.parametrize("url", HARMLESS)
def test_a_url_without_one_is_not(url: str) -> None:
    require_no_secret(url)


FIELDS = (
    "data.path",
    "data.groups",
    "pairs.path",
    "pairs.sources_file",
    "plan.reuse",
    "output.url",
)


@pytest.mark.parametrize("field", FIELDS)
def test_a_configuration_with_one_is_refused(field: str) -> None:
    for url in SECRET:
        with pytest.raises(StoreError, match="holds a password, token or signature") as refused:
            config.load("data: {path: table.csv}", [f"{field}={json.dumps(url)}"])
        assert "hid" not in str(refused.value)
    for url in HARMLESS:
        config.load("data: {path: table.csv}", [f"{field}={json.dumps(url)}"])


def test_storage_options_in_the_place_of_a_url_are_not_shown() -> None:
    with pytest.raises(ConfigError, match=r"data\.path") as refused:
        config.load('data: {path: {url: "s3://mmg/a.csv", secret: hidden}}')
    assert "hidden" not in str(refused.value)
