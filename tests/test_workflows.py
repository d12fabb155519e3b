"""The workflows call commands that there are; the Snakemake one runs where Snakemake is installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import anndata
import click
import numpy as np
import pandas as pd
import pytest
import yaml

from mmg_ray.cli import main

ROOT = Path(__file__).parent.parent
WORKFLOWS = ROOT / "workflows"
MODULE = WORKFLOWS / "nf-core" / "mmgray" / "run"


def test_commands_of_workflows_have_these_options() -> None:
    called = 0
    for file in (WORKFLOWS / "snakemake" / "Snakefile", MODULE / "main.nf"):
        for name, rest in re.findall(r"mmg-ray (\w+) (.*(?:\n +\"--.*)?)", file.read_text()):
            command = main.get_command(click.Context(main), name)
            assert command is not None, (file, name)
            options = {option for found in command.params for option in found.opts}
            assert set(re.findall(r"--[a-z-]+", rest)) - {"--step"} <= options, (file, name, rest)
            called += 1
    assert called == 7


def test_the_module_describes_its_channels() -> None:
    meta = yaml.safe_load((MODULE / "meta.yml").read_text())
    text = (MODULE / "main.nf").read_text()
    assert set(meta["output"]) == set(re.findall(r"emit: (\w+)", text))
    assert f"process {meta['name'].upper()} {{" in text
    assert yaml.safe_load((MODULE / "environment.yml").read_text())["dependencies"]


def test_one_image_is_named_everywhere() -> None:
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.M)
    assert version is not None
    image = f"registry.example/mmg-ray:{version[1]}"
    files = [ROOT / "Containerfile", MODULE / "main.nf"]
    files += (ROOT / "mmg_ray" / "scheduled" / "kubernetes").glob("*.yaml")
    for file in files:
        assert set(re.findall(r"registry\.example/[\w.:-]+", file.read_text())) == {image}, file


def test_the_snakemake_workflow_runs_and_is_then_done(tmp_path: Path) -> None:
    pytest.importorskip("snakemake")
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.standard_normal((120, 4)), columns=list("abcd"))
    table["b"] += table["a"]
    table["condition"] = np.repeat(["control", "treated"], 60)
    table.to_csv(tmp_path / "table.csv", index=False)
    (tmp_path / "run.yaml").write_text(
        "data: {path: table.csv, metadata: [condition]}\nexecute: {executor: serial}\n"
        "estimator: {denoiser: screen}\n"
    )
    (tmp_path / "config.yaml").write_text((WORKFLOWS / "snakemake" / "config.yaml").read_text())
    folder = Path(sys.executable).parent
    env = os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--snakefile"]
    command.append(str(WORKFLOWS / "snakemake" / "Snakefile"))
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("control", "treated"):
        assert (tmp_path / f"results/{name}/report.html").exists()
        assert "<graphml" in (tmp_path / f"results/{name}/network.graphml").read_text()[:300]
    changes = pd.read_csv(tmp_path / "results/compare/control-treated.csv")
    assert changes[["source", "target"]].to_numpy().tolist() == [["a", "b"]]
    again = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert "Nothing to be done" in again.stderr + again.stdout


def test_the_method_of_genernib_writes_what_is_scored(tmp_path: Path) -> None:
    """Its script with these arguments, as viash puts them in place of the marked lines."""
    folder = WORKFLOWS / "genernib" / "mmg_ray"
    assert yaml.safe_load((folder / "config.vsh.yaml").read_text())["name"] == folder.name
    rng = np.random.default_rng(0)
    regulator = rng.gamma(2, size=(200, 1))
    counts = rng.poisson(np.hstack([3 * regulator, 4 * regulator, np.full((200, 6), 5.0)]))
    rna = anndata.AnnData(np.log1p(counts), layers={"counts": counts.astype(float)})
    rna.var_names = ["MYC", "NCL", "STAT1", *(f"GENE{k}" for k in range(5))]
    rna.uns["dataset_id"] = "simulated"
    rna.write_h5ad(tmp_path / "rna.h5ad")
    (tmp_path / "tf.csv").write_text("MYC\nSTAT1\nGATA1\n")
    par = {
        "rna": str(tmp_path / "rna.h5ad"),
        "tf_all": str(tmp_path / "tf.csv"),
        "prediction": str(tmp_path / "out/net.h5ad"),
        "max_n_links": 10,
        "temp_dir": str(tmp_path),
    }
    before, rest = (folder / "script.py").read_text().split("## VIASH START")
    exec(f"{before}\npar = {par!r}\n{rest.split('## VIASH END')[1]}", {})
    found = anndata.read_h5ad(par["prediction"]).uns
    net = found["prediction"]
    assert (found["method_id"], found["dataset_id"]) == ("mmg_ray", "simulated")
    assert list(net.columns) == ["source", "target", "weight"]
    assert len(net) == 10
    assert set(net.source) <= {"MYC", "STAT1"}
    assert tuple(net.iloc[0][:2]) == ("MYC", "NCL")
    assert (np.diff(net.weight.astype(float)) <= 0).all()
    assert all(isinstance(weight, str) for weight in net.weight)
