"""Malformed inputs: files of every format, configurations, overrides, URLs, names; seeded.

    python tests/attack/attack_inputs.py [--tries 400] [--seed 0] [--limit-s 900]

A damaged file of a format without checksums may hold other numbers and be read: that is `accepted`.
What is made so that it must be refused and is not is `silent`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import anndata
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zarr
from harness import Attempt, Outcome, Table, campaign
from scipy import io as scipy_io
from scipy import sparse

from mmg_ray import config
from mmg_ray.errors import MMGError
from mmg_ray.execute.drain import draining, seconds
from mmg_ray.plain_yaml import decode
from mmg_ray.store.sources import read_table, source_digest
from mmg_ray.url_secrets import require_no_secret

N_SAMPLES, N_VARIABLES = 40, 6
NAMES = [f"g{k}" for k in range(N_VARIABLES)]


def originals(folder: Path) -> list[Path]:
    """A whole file, or folder, of every format."""
    values = np.random.default_rng(0).poisson(2.0, size=(N_SAMPLES, N_VARIABLES)).astype(float)
    text = "\n".join([",".join(NAMES), *(",".join(map(str, row)) for row in values.tolist()), ""])
    (folder / "a.csv").write_text(text)
    (folder / "a.tsv").write_text(text.replace(",", "\t"))
    (folder / "b.csv.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    pq.write_table(pa.table(dict(zip(NAMES, values.T, strict=True))), folder / "a.parquet")
    np.save(folder / "a.npy", values)
    np.savez(folder / "a.npz", X=values, names=np.array(NAMES))
    cells = folder / "filtered_feature_bc_matrix"
    cells.mkdir()
    scipy_io.mmwrite(str(cells / "matrix.mtx"), sparse.coo_matrix(values.T))
    (cells / "features.tsv").write_text("".join(f"id{n}\t{n}\tGene Expression\n" for n in NAMES))
    (cells / "barcodes.tsv").write_text("".join(f"c{k}\n" for k in range(N_SAMPLES)))
    for name, matrix in (("dense", values), ("sparse", sparse.csr_matrix(values))):
        adata = anndata.AnnData(matrix)
        adata.var_names = NAMES
        adata.write_h5ad(folder / f"{name}.h5ad")
    adata.write_zarr(folder / "a.zarr")
    zarr.create_array(str(folder / "b.zarr"), data=values, chunks=(10, 3))
    with h5py.File(folder / "a.loom", "w") as file:
        file["matrix"] = values.T
        file["row_attrs/Gene"] = np.array(NAMES, dtype="S")
        file["col_attrs/CellID"] = np.array([f"c{k}" for k in range(N_SAMPLES)], dtype="S")
    return sorted(folder.iterdir())


def damage(data: bytes, rng: random.Random) -> bytes:
    """One of the ways in which files are damaged."""
    if not data:
        return bytes([rng.randrange(256)])
    at, n = rng.randrange(len(data)), rng.choice([1, 2, 8, 64])
    noise = bytes(rng.randrange(256) for _ in range(n))
    return rng.choice(
        [
            data[:at],
            data[at:],
            data[:at] + data[at + n :],
            data[:at] + noise + data[at:],
            data[:at] + noise + data[at + n :],
            data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :],
            data[:at] + bytes(len(data[at : at + n])) + data[at + n :],
            data[:at] + data[max(0, at - n) : at] + data[at:],
            noise * 20,
            b"",
        ]
    )


def read(path: str, before: np.ndarray | None = None) -> tuple[Outcome, str]:
    """Read a table as a run does; what is read must be a table."""
    cfg = config.load(json.dumps({"data": {"path": path}})).data
    source_digest(cfg)
    table = read_table(cfg)
    values = np.stack([table.column(v) for v in range(table.n_variables)], axis=1)
    if values.shape != (table.n_samples, len(table.names)) or len(set(table.names)) < len(
        table.names
    ):
        return Outcome.SILENT, f"{values.shape}, {table.names}"
    if any(not character.isprintable() for name in table.names for character in name):
        return Outcome.SILENT, f"{table.names}"
    same = before is not None and np.array_equal(values, before, equal_nan=True)
    return (Outcome.HARMLESS if same else Outcome.ACCEPTED), ""


def read_damaged(original: str, seed: int) -> tuple[Outcome, str]:
    rng = random.Random(seed)
    source = Path(original)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / source.name
        if source.is_dir():
            files = sorted(path for path in source.rglob("*") if path.is_file())
            hit = rng.choice(files)
            for path in files:
                (copy / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
                data = path.read_bytes()
                (copy / path.relative_to(source)).write_bytes(
                    damage(data, rng) if path == hit else data
                )
        else:
            copy.write_bytes(damage(source.read_bytes(), rng))
        return read(str(copy))


def must_refuse(what: str, fn: Callable[[], object]) -> tuple[Outcome, str]:
    try:
        found = fn()
    except MMGError as error:
        return Outcome.REFUSED, str(error)
    return Outcome.SILENT, f"{what} gave {found!r:.200}"


CRAFTED: dict[str, bytes] = {
    "empty.csv": b"",
    "header.csv": b"a,b,c\n",
    "ragged.csv": b"a,b\n1,2\n1,2,3\n4,5\n",
    "text.csv": b"a,b\n1,2\nx,3\n4,y\n",
    "twice.csv": b"a,a\n1,2\n3,4\n",
    "nul.csv": b"a,b\n1,\x00\n3,4\n",
    "binary.csv": bytes(range(256)) * 4,
    "quote.csv": b'a,"b\n1,2\n3,4\n',
    "unnamed.csv": b"a,,c\n1,2,3\n4,5,6\n",
    "npy.npz": b"\x93NUMPY\x01\x00",
    "empty.npy": b"",
    "folder.h5ad": b"PK\x03\x04",
    "html.parquet": b"<html>no such key</html>",
    "bomb.npy": b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 1000000), }".ljust(127) + b"\n",
    "negative.mtx": b"%%MatrixMarket matrix coordinate real general\n-3 2 1\n1 1 1.0\n",
    "outside.mtx": b"%%MatrixMarket matrix coordinate real general\n3 2 1\n9 9 1.0\n",
    "nul.mtx": b"%%MatrixMarket matrix coordinate real general\n3 2 3\n1 1 1\n2 1 1\x003 2 1\n",
    "huge.mtx": b"%%MatrixMarket matrix coordinate real general\n99999999999999 99999999999 1\n1 1 1\n",
}  # fmt: skip


def read_crafted(name: str) -> tuple[Outcome, str]:
    with tempfile.TemporaryDirectory() as folder:
        place = file = Path(folder) / name
        if file.suffix == ".mtx":
            place = Path(folder) / "filtered_feature_bc_matrix"
            place.mkdir()
            file = place / "matrix.mtx"
            (place / "features.tsv").write_text("a\nb\nc\n")
            (place / "barcodes.tsv").write_text("x\ny\n")
        file.write_bytes(CRAFTED[name])
        return must_refuse(name, lambda: read(str(place)))


def read_object(kind: str) -> tuple[Outcome, str]:
    arrays = {
        "objects": np.array([[1, None], ["a", 2]], dtype=object),
        "complex": np.ones((3, 2), complex),
        "text": np.array([["a", "b"]]),
        "cube": np.ones((3, 2, 2)),
        "scalar": np.array(3.0),
        "vector of records": np.zeros(3, dtype=[("a", "f8"), ("b", "f8")]),
        "no samples": np.ones((0, 3)),
        "no variables": np.ones((3, 0)),
        "dates": np.array([["2026-01-01"]], dtype="M8[D]"),
    }
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "a.npy", arrays[kind], allow_pickle=True)
        return must_refuse(kind, lambda: read(str(Path(folder) / "a.npy")))


OBJECTS = ["objects", "complex", "text", "cube", "scalar", "vector of records", "no samples",
           "no variables", "dates"]  # fmt: skip
NOT_NUMBERS = {"address", "denoiser", "reuse"}
NUMBERS = [
    f"{section}.{name}"
    for section in ("estimator", "estimator.snr", "estimator.network", "estimator.nulls", "plan", "execute")
    for name in config.known_keys(section.split("."))
    if name not in NOT_NUMBERS
]  # fmt: skip
HOSTILE = [".nan", ".inf", "-.inf", "-1e300", "1" + "0" * 40, "{a: 1}", "[[1]]", "!!python/name:os.system", "&a [*a]", "[" * 400]  # fmt: skip


def override(field: str, value: str) -> tuple[Outcome, str]:
    text = f"{field}={value}"
    return must_refuse(text, lambda: config.load("data: {path: a.csv}", [text]))


def damaged_config(seed: int) -> tuple[Outcome, str]:
    rng = random.Random(seed)
    data = damage(config.documented_yaml().encode(), rng)
    config.load(decode(data, "run.yaml"))
    return Outcome.ACCEPTED, ""


def url(seed: int) -> tuple[Outcome, str]:
    rng = random.Random(seed)
    secret = "".join(rng.choice("abcXYZ019_-.~!$*+") for _ in range(rng.randrange(1, 30)))
    name = rng.choice(
        [
            "account_key",
            "access_key",
            "sig",
            "X-Amz-Signature",
            "token",
            "secret",
            "api_key",
            "PASSWORD",
        ]
    )
    scheme = rng.choice(["https", "s3", "gs", "az", "ftp", "HTTP", "abfs", "simplecache::s3"])
    text = rng.choice(
        [
            f"{scheme}://u:{secret}@host/a.csv",
            f"{scheme}://host/a.csv?{name}={secret}",
            f"{scheme}://host/a.csv?x=1&{name}={secret}#y",
            f"{scheme}://host/a.csv#{name}={secret}",
            f"zip://a.csv::{scheme}://u:x{secret}/y@host/a.zip",
        ]
    )
    return must_refuse(text, lambda: require_no_secret(text))


def name(seed: int) -> tuple[Outcome, str]:
    rng = random.Random(seed)
    characters = "\x00\x01\r\n\t\x1b\x7f\x85\u2028\u202e=+-@[]/\"',;é "
    names = [
        "x" + "".join(rng.choice(characters) for _ in range(rng.randrange(1, 9))) for _ in range(4)
    ]
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "a.npz", X=np.ones((3, 4)), names=np.array(names))
        return read(str(Path(folder) / "a.npz"))


def time_limit(seed: int) -> tuple[Outcome, str]:
    rng = random.Random(seed)
    text = rng.choice(
        ["9" * rng.randrange(9, 500), "-1", "1e9", "0", "", "99999999d", "1h x", "nan", "inf"]
    )

    def wait() -> None:
        with draining(seconds(text), 1.0):
            pass

    return must_refuse(text, wait)


def attempts(files: list[Path], n: int, seed: int) -> Iterator[Attempt]:
    """`n` of them, every kind in turn."""
    rng = random.Random(seed)
    crafted = [Attempt("crafted files", name, read_crafted, (name,)) for name in CRAFTED]
    crafted += [Attempt("crafted files", kind, read_object, (kind,)) for kind in OBJECTS]
    rng.shuffle(crafted)
    for k in range(n):
        kind, number = k % 8, zlib.crc32(f"{seed} {k}".encode())
        if kind == 0 and crafted:
            yield crafted.pop()
        elif kind == 1:
            field, value = rng.choice(NUMBERS), rng.choice(HOSTILE)
            yield Attempt("overrides", f"{field}={value[:20]}", override, (field, value))
        elif kind == 2:
            yield Attempt("configurations", f"seed {number}", damaged_config, (number,))
        elif kind == 3:
            yield Attempt("URLs with secrets", f"seed {number}", url, (number,))
        elif kind == 4:
            pick = rng.choice([("names", name), ("lengths of time", time_limit)])
            yield Attempt(pick[0], f"seed {number}", pick[1], (number,))
        else:
            file = files[k % len(files)]
            what = f"{file.name}, seed {number}"
            yield Attempt(
                f"damaged {file.suffix[1:] or '10x folder'}",
                what,
                read_damaged,
                (str(file), number),
            )


def run(n: int, seed: int, limit_s: float) -> Table:
    with tempfile.TemporaryDirectory() as folder:
        table, files = Table(), originals(Path(folder))
        for file in files:  # what is refused whole would tell nothing
            read(str(file))
        tries = attempts(files, n, seed)
        for table, _ in campaign(tries, limit_s=limit_s):  # noqa: B007
            pass
        return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit-s", type=float, default=900.0)
    asked = parser.parse_args()
    table = run(asked.tries, asked.seed, asked.limit_s)
    sys.stdout.write(f"{table}\n")
    sys.exit(1 if table.bad else 0)


if __name__ == "__main__":
    main()
