"""One YAML -> frozen dataclasses. Every field has a one-line description, shown by `mmg-ray config`.

Unknown keys are errors that name the nearest known one. Defaults are resolved here, once; the
resolved configuration is what a run stores and what its fingerprint covers.
"""

from mmg_ray.config.estimator import (
    CascadeConfig,
    EstimatorConfig,
    NetworkConfig,
    NullConfig,
    SNRConfig,
)
from mmg_ray.config.fields import Texts
from mmg_ray.config.loading import (
    AnyConfig,
    documented_yaml,
    from_dict,
    known_keys,
    load,
    load_as,
    to_dict,
)
from mmg_ray.config.sections import (
    RESULT_SECTIONS,
    Config,
    DataConfig,
    EdgesConfig,
    ExecuteConfig,
    LagsConfig,
    OutputConfig,
    PairsConfig,
    PlanConfig,
)

__all__ = [
    "RESULT_SECTIONS",
    "AnyConfig",
    "CascadeConfig",
    "Config",
    "DataConfig",
    "EdgesConfig",
    "EstimatorConfig",
    "ExecuteConfig",
    "LagsConfig",
    "NetworkConfig",
    "NullConfig",
    "OutputConfig",
    "PairsConfig",
    "PlanConfig",
    "SNRConfig",
    "Texts",
    "documented_yaml",
    "from_dict",
    "known_keys",
    "load",
    "load_as",
    "to_dict",
]
