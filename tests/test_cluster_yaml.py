"""cluster.yaml is one that Ray's cluster launcher accepts."""

import json
from pathlib import Path

import jsonschema
import ray
import yaml
from ray_settings import NOTICE_S


def test_cluster_yaml_is_valid_under_rays_own_schema():
    schema = json.loads((Path(ray.__file__).parent / "autoscaler/ray-schema.json").read_text())
    cluster = yaml.safe_load(Path(__file__).parents[1].joinpath("cluster.yaml").read_text())
    jsonschema.validate(cluster, schema)
    types = cluster["available_node_types"]
    assert cluster["head_node_type"] in types
    assert types["head"]["resources"] == {"CPU": 0}  # tasks never run beside the driver
    gpu = types["gpu_worker"]
    assert gpu["resources"]["GPU"] >= 1
    assert gpu["min_workers"] == 0 < gpu["max_workers"]
    assert gpu["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    head = " ".join(cluster["head_start_ray_commands"])
    assert "--dashboard-host=127.0.0.1" in head
    worker = " ".join(cluster["worker_start_ray_commands"])
    for name, value in NOTICE_S.items():
        assert f"{name}={value}" in head
        assert f"{name}={value}" in worker or "health_check" in name  # the head checks
