"""Vocabulary of the project: statuses, variables, pair estimates and the edge table's columns.

Nothing here imports another module of the package.
"""

from mmg_ray.schema.columns import CURVE, EDGE_COLUMNS, SCHEMA_KEY, SCHEMA_VERSION, Column
from mmg_ray.schema.estimates import Labels, PairEstimate, PairEstimates
from mmg_ray.schema.vocabulary import FAILURES, Cost, Receipt, Status, Stop, Variable

__all__ = [
    "CURVE",
    "EDGE_COLUMNS",
    "FAILURES",
    "SCHEMA_KEY",
    "SCHEMA_VERSION",
    "Column",
    "Cost",
    "Labels",
    "PairEstimate",
    "PairEstimates",
    "Receipt",
    "Status",
    "Stop",
    "Variable",
]
