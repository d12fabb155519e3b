"""Configurations that are ambiguous, endless or no text end with one message, at once."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml

import mmg_ray
from mmg_ray import config
from mmg_ray.errors import ConfigError
from mmg_ray.execute.drain import draining, seconds
from mmg_ray.jobs import read_config
from mmg_ray.plain_yaml import decode, parse

BOMB = "a0: &a0 [x, x]\n" + "".join(
    f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BOMB, "stands for more than 1,000,000 values"),
        ("a: &a [*a]", "refers to itself"),
        ("data: {path: a}\ndata: {path: b}", "'data' twice .line 1 and line 2"),
        ("data: {path: a, path: a}", "'path' twice"),
        ("data:\n  path: a\n  'path': b", "'path' twice .line 2 and line 3"),
        ("[" * 5000, "levels deep"),
        ("a: " + "{b: " * 3000 + "1" + "}" * 3000, "levels deep"),
        ("a: 2026-02-31", "value that there is not"),
        ("a: !!python/object:os.system x", "not valid YAML"),
        ("a: \x00", "not valid YAML"),
        ("a: 1\n---\nb: 2", "not valid YAML"),
        ("? [a, b]\n: 1\n? {c: d}\n: 2", "not valid YAML"),
    ],
)
def test_what_is_not_plain_is_refused(text: str, says: str) -> None:
    began = time.process_time()
    with pytest.raises(ConfigError, match=says):
        config.load(text)
    with pytest.raises(ConfigError, match=says):
        config.load("data: {path: a}", [f"estimator={text}"])
    assert time.process_time() - began < 10


@pytest.mark.parametrize(
    "text",
    [
        "data: &d {path: a}\nestimator: {seed: 1}",
        "a: &x {b: 1}\nc: {<<: *x, d: 2}",
        "",
        "# nothing",
        "3",
        "~",
    ],
)
def test_plain_text_is_what_pyyaml_makes_of_it(text: str) -> None:
    assert parse(text, "it") == yaml.safe_load(text)


def test_text_is_read_as_people_save_it(tmp_path: Path) -> None:
    text = "data: {path: größe.csv}\n"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / "run.yaml").write_bytes(text.encode(encoding))
        assert config.load(read_config(str(tmp_path / "run.yaml"))).data.path == "größe.csv"
    for data in (text.encode("latin-1"), b"\xff\xfe\x00", bytes(range(256))):
        with pytest.raises(ConfigError, match="is not UTF-8 text"):
            decode(data, "run.yaml")
        (tmp_path / "run.yaml").write_bytes(data)
        with pytest.raises(ConfigError, match="is not UTF-8 text"):
            mmg_ray.run(tmp_path / "run.yaml")


@pytest.mark.parametrize(
    "override",
    [
        "estimator.snr.n_draws=1000000000", "estimator.network.n_layers=1000000",
        "estimator.network.width=10000000", "estimator.seed=100000000000000000000",
        "estimator.nulls.max_permutations=1e12", "plan.shard_s=.inf", "plan.shard_s=.nan",
        "plan.tile_variables=1000000000", "execute.num_cpus=.inf", "execute.drain_s=1e9",
        "estimator.cascade.p_value=.nan", "output.url=", "output.url=''", "output.url='  '",
        'output.url="a\\0b"', 'data.path="a\\nb"', "data.path=''", "data=3", "data=[a]", "=1", ".=1",
        "a..b=1", "estimator.=1", "estimator.seed", "", "data.path.x.y=1", "estimator.seed={a: 1}",
    ],
)  # fmt: skip
def test_values_beyond_reason_are_refused_by_name(override: str) -> None:
    with pytest.raises(ConfigError) as refused:
        config.load("data: {path: a.csv}", [override])
    name = override.partition("=")[0].split(".")[-1]
    assert name in str(refused.value)


@pytest.mark.parametrize("text", ["999999999999d", "9" * 400, "400d", "1e400"])
def test_ages_are_no_time_to_stop_after(text: str) -> None:
    def wait() -> None:
        with draining(seconds(text), 1.0):
            pass

    with pytest.raises(ConfigError, match=r"at most 366 d|no length of time"):
        wait()
