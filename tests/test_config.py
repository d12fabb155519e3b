"""One YAML, frozen dataclasses, errors that name the key, the value and the way out."""

import dataclasses

import pytest
from pydantic import TypeAdapter

from mmg_ray import config
from mmg_ray.errors import ConfigError


def test_defaults_are_resolved_and_survive_a_round_trip():
    resolved = config.load("data: {path: a.csv}")
    assert resolved.estimator.denoiser == "auto"
    assert config.from_dict(config.to_dict(resolved)) == resolved


def test_set_overrides_any_field_in_order():
    resolved = config.load(
        "data: {path: a.csv}",
        ["estimator.network.width=8", "estimator.seed=1", "estimator.seed=2"],
    )
    assert resolved.estimator.network.width == 8
    assert resolved.estimator.seed == 2


def test_names_may_be_one_or_many_and_sections_empty():
    text = "data: {path: a, samples: {leiden: 2, batch: [1, b]}}\nestimator:"
    resolved = config.load(text, ["pairs.sources=G1", "estimator.seed=3"])
    assert resolved.data.samples == {"leiden": ("2",), "batch": ("1", "b")}
    assert resolved.pairs.sources == ("G1",)
    assert resolved.estimator.seed == 3


def test_config_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.load("data: {path: a.csv}").estimator.seed = 1


@pytest.mark.parametrize(
    ("text", "overrides", "expected"),
    [
        ("data: {path: a}\nestimater: {seed: 1}", [], "'estimater'.*did you mean 'estimator'"),
        (
            "data: {path: a}\nestimator: {network: {widht: 3}}",
            [],
            "'estimator.network.widht'.*did you mean 'width'",
        ),
        ("data: {path: a}\nestimator: {seed: x}", [], "'estimator.seed' is 'x'.*integer"),
        ("data: {path: a}", ["estimator.seed=-1"], "'estimator.seed' is -1.*greater"),
        ("data: {path: a}", ["pairs.mode=some"], "'pairs.mode' is 'some'.*bipartite"),
        ("data: {path: a}", ["pairs.sources=["], r"not valid YAML(?s:.)*a list is \[a, b\]"),
        ("data: {path: a}", ["nonsense"], "section.key=value"),
        ("data: {path: a}", ["data.path.x=1"], "'path' holds a value, not a section"),
        ("estimator: {}", [], "'data' is required"),
        ("- a\n- b", [], "mapping of sections, got list"),
        ("data: {path: [", [], "not valid YAML"),
    ],
)
def test_errors_name_the_key_and_the_way_out(text, overrides, expected):
    with pytest.raises(ConfigError, match=expected):
        config.load(text, overrides)


def test_every_field_is_described():
    schema = TypeAdapter(config.Config).json_schema()
    for section in [schema, *schema["$defs"].values()]:
        for name, field in section["properties"].items():
            assert field.get("description"), name
