"""10x Genomics' folders: matrix.mtx with features (or genes) and barcodes beside it, plain or .gz."""

from __future__ import annotations

import csv
import gzip
import io
import zlib

from scipy.io import mmread
from scipy.sparse import csc_matrix

from mmg_ray.config import DataConfig
from mmg_ray.errors import DataError
from mmg_ray.store.location import Location
from mmg_ray.store.sources.files import open_file, unreadable
from mmg_ray.store.sources.table import Contents, array_contents
from mmg_ray.store.sources.tenx_h5 import name_field

_MATRIX = (".mtx", ".mtx.gz")
_FEATURES = ("features.tsv", "features.tsv.gz", "genes.tsv", "genes.tsv.gz")
_BARCODES = ("barcodes.tsv", "barcodes.tsv.gz")


def read_mtx(location: Location, cfg: DataConfig) -> Contents:
    """The folder's matrix: genes x barcodes in the file, so barcodes are the samples; sparse.

    Variables are named by the second column of the features (symbols), or by the first: with
    data.variable_names: id, or where it is the only one. The third is their type. Files may have a prefix, as archives add. `data.transpose` says that the matrix holds barcodes x genes.
    """
    if not location.fs.isdir(location.path):
        raise DataError(
            f"{location.url} is a file; give the folder that holds it, with features.tsv and "
            "barcodes.tsv, which name its rows and columns"
        )
    matrix, features, barcodes = (
        _only(location, endings) for endings in (_MATRIX, _FEATURES, _BARCODES)
    )
    data = _bytes(matrix)
    if b"\0" in data:  # SciPy's reader would follow it beyond its buffer, and crash
        raise unreadable(matrix, "Matrix Market", "it holds a NUL byte, so it is no text")
    try:
        values = csc_matrix(mmread(io.BytesIO(data)))
    except (ValueError, OverflowError, TypeError, OSError) as error:
        raise unreadable(matrix, "Matrix Market", error) from None
    place = 1 if name_field(cfg) == "name" else 0
    rows = _rows(features)
    genes = [row[min(place, len(row) - 1)] for row in rows]
    # files of Seurat and others may have other third columns: a type has a name of letters
    types = [row[2] if len(row) > 2 else "" for row in rows]
    cells = [row[0] for row in _rows(barcodes)]
    values = values if cfg.transpose else values.T
    if values.shape != (len(cells), len(genes)):
        reads = "barcodes x genes" if cfg.transpose else "genes x barcodes"
        turned = values.shape == (len(genes), len(cells))
        raise DataError(
            f"{matrix.url}, read as {reads}, has {values.shape[1]} genes and {values.shape[0]} "
            f"barcodes, but {features.name} names {len(genes)} and {barcodes.name} {len(cells)}"
            + (
                f"; it is the other way round: set data.transpose: {str(not cfg.transpose).lower()}"
                if turned
                else "; the files are of different data"
            )
        )
    return array_contents(
        values,
        location.url,
        names=genes,
        sample_names=cells,
        feature_types=types if all(types) else None,
    )


def _only(folder: Location, endings: tuple[str, ...]) -> Location:
    names = sorted(str(path).rsplit("/", 1)[-1] for path in folder.fs.ls(folder.path, detail=False))
    found = [name for name in names if name.endswith(endings)]
    if len(found) != 1:
        raise DataError(
            f"{folder.url} needs one file that ends in {' or '.join(endings)}; it has "
            f"{', '.join(found) or 'none'} (files: {', '.join(names[:8]) or 'none'})"
        )
    return folder / found[0]


def _bytes(location: Location) -> bytes:
    with open_file(location) as file:
        data = file.read()
    if not location.name.endswith(".gz"):
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, OSError, zlib.error) as error:
        raise unreadable(location, "gzip", error) from None


def _rows(location: Location) -> list[list[str]]:
    try:
        text = _bytes(location).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise unreadable(location, "text in UTF-8", error) from None
    return [row for row in csv.reader(io.StringIO(text), delimiter="\t") if row]
