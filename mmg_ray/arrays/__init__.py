"""What callers of the Python API pass, whatever its type, as columns of numbers and labels.

`containers` finds columns, names and sample labels; `columns` reads the values of one column. A package is
never imported here to recognise its types: who passes one of its objects has imported it.
"""

from mmg_ray.arrays.columns import Column, Kind
from mmg_ray.arrays.containers import read
from mmg_ray.arrays.samples import Samples, aligned, refuse_numbers_as_text, require_numbers

__all__ = [
    "Column",
    "Kind",
    "Samples",
    "aligned",
    "read",
    "refuse_numbers_as_text",
    "require_numbers",
]
