"""The network of an expression matrix in the form that geneRNIB scores: its strongest pairs of a regulator and a gene."""

import tempfile
from pathlib import Path

import anndata

from mmg_ray import genomics

## VIASH START
par = {
    "rna": "resources_test/grn_benchmark/inference_data/op_rna.h5ad",
    "tf_all": "resources_test/grn_benchmark/prior/tf_all.csv",
    "prediction": "output/prediction.h5ad",
    "max_n_links": 50000,
}
## VIASH END

rna = anndata.read_h5ad(par["rna"])
layer = next((name for name in ("counts", "lognorm") if name in rna.layers), None)
with tempfile.TemporaryDirectory(dir=par.get("temp_dir")) as folder:
    settings = [
        f"genes.regulators={par['tf_all']}",
        "network.report=false",
        "network.heatmap=false",
    ]
    run = genomics.run(rna, settings, url=f"{folder}/run", layer=layer)
    edges = run.network().edges  # the largest weight first

net = edges[["source", "target", "weight"]].head(par.get("max_n_links") or 50000)
prediction = anndata.AnnData(
    uns={
        "method_id": "mmg_ray",
        "dataset_id": rna.uns.get("dataset_id", "unknown"),
        "prediction": net.assign(weight=net["weight"].astype(str)).reset_index(drop=True),
    }
)
Path(par["prediction"]).parent.mkdir(parents=True, exist_ok=True)
prediction.write_h5ad(par["prediction"])
