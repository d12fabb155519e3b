"""The command line: what it prints, what it exits with, and that no traceback reaches a user."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result

from mmg_ray import config as configuration
from mmg_ray.cli import main
from mmg_ray.errors import StoreError
from mmg_ray.execute import driver
from mmg_ray.execute.task import ShardTask
from mmg_ray.schema import EDGE_COLUMNS, Receipt


@pytest.fixture
def run_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    values = np.random.default_rng(0).normal(size=(100, 10))
    values[:, 1] += values[:, 0]
    values[:, 2] = 1.0
    np.save("values.npy", values)
    tree = {
        "data": {"path": "values.npy"},
        "estimator": {"denoiser": "gaussian"},
        "plan": {"tile_variables": 4, "shard_s": 1.0e-9},
        "execute": {"executor": "serial"},
        "output": {"url": "out"},
    }
    Path("run.yaml").write_text(yaml.safe_dump(tree))
    return "run.yaml"


def invoke(*arguments: str) -> Result:
    """Run the command; an exception that is not an exit would be a traceback for the user."""
    result = CliRunner().invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def words(text: str) -> str:
    return " ".join(text.split())


def test_run_shows_the_strongest_edges_and_where_results_lie(run_yaml: str, tmp_path: Path) -> None:
    result = invoke("run", run_yaml)
    assert result.exit_code == 0
    assert "Strongest edges" in result.stdout
    first = next(line for line in result.stdout.splitlines() if "│ v" in line)
    assert "v0" in first
    assert "v1" in first
    assert f"results: {tmp_path / 'out'}" in result.stdout
    assert "9 pairs without a value" in result.stdout
    assert "constant" in result.stdout
    assert "pairs 45/45" in words(result.stderr)


def test_names_are_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not markup of the terminal's library, not paths, not code: they come out as they went in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    x = np.random.default_rng(0).normal(size=(100, 6))
    names = ["[red]a[/red]", "[/b]", "../../c", "=1+1", "<script>d</script>", "{e!r}"]
    np.savetxt("t.csv", x + x[:, :1], delimiter=",", header=",".join(names), comments="")
    text = "data: {path: t.csv}\nestimator: {denoiser: gaussian}\nexecute: {executor: serial}"
    Path("run.yaml").write_text(text)
    for command in (
        ("run", "run.yaml", "--set", "output.url='[/x] out'"),
        ("edges", "[/x] out"),
        ("network", "[/x] out"),
    ):
        result = invoke(*command)
        assert result.exit_code == 0
        assert all(name in result.stdout for name in names), command


def test_plan_says_what_it_costs_and_writes_nothing(run_yaml: str) -> None:
    result = invoke("plan", run_yaml)
    assert result.exit_code == 0
    for text in ("pairs 45", "10 x 100", "time on one CPU thread", "stored", "memory of a task"):
        assert text in words(result.stdout)
    assert not Path("out").exists()


def test_plan_measures_a_few_tiles_unless_it_is_not_to(run_yaml: str) -> None:
    result = invoke("plan", run_yaml)
    assert result.exit_code == 0
    assert "memory of the driver" in result.stdout
    assert "times follow tiles measured here" in result.stdout
    quick = invoke("plan", run_yaml, "--no-calibrate")
    assert "projections of a typical matrix" in words(quick.stdout)
    assert not Path("out").exists()


def test_status_works_from_storage_alone(run_yaml: str) -> None:
    invoke("run", run_yaml)
    Path(run_yaml).unlink()
    Path("values.npy").unlink()
    done = invoke("status", "out")
    assert "pairs 45 of 45" in words(done.stdout)
    assert "matrix complete" in words(done.stdout)
    assert "go on with" not in done.stdout
    next(Path("out/edges").iterdir()).unlink()
    assert "go on with: mmg-ray run out" in invoke("status", "out").stdout
    assert invoke("run", "out").exit_code == 0
    assert "go on with" not in invoke("status", "out").stdout


def test_a_filtered_run_without_a_matrix(run_yaml: str) -> None:
    settings = ("--set", "edges.max_p_value=0.1", "--set", "edges.matrix=false")
    planned = words(invoke("plan", run_yaml, *settings).stdout)
    assert "edges stored 4 if no pair depended on another" in planned
    assert "9 pairs without a value" in invoke("run", run_yaml, *settings).stdout
    shown = words(invoke("status", "out").stdout)
    assert "pairs 45 of 45" in shown
    assert "matrix none (edges.matrix: false)" in shown
    assert "go on with" not in shown
    n_stored = int(shown.split("edges stored ")[1].split()[0])
    assert 1 <= n_stored < 15
    assert "Most significant edges" in invoke("edges", "out", "--by", "p_value").stdout
    refused = invoke("heatmap", "out", "mi.png")
    assert refused.exit_code == 2
    assert "edges.matrix: false" in refused.stderr


def test_edges_as_a_table_and_as_csv(run_yaml: str) -> None:
    invoke("run", run_yaml)
    shown = invoke("edges", "out", "--top", "3").stdout
    assert sum("│ v" in line for line in shown.splitlines()) == 3
    written = invoke("edges", "out", "--csv", "edges.csv")
    assert "wrote 45 edges" in written.stderr
    rows = list(csv.DictReader(io.StringIO(Path("edges.csv").read_text())))
    assert len(rows) == 45
    assert list(rows[0]) == [column.name for column in EDGE_COLUMNS if column.name != "curve"]


def test_config_prints_every_field_with_its_default() -> None:
    printed = invoke("config").stdout
    tree = yaml.safe_load(printed)
    assert configuration.load(printed) == configuration.from_dict({"data": {"path": "data.csv"}})
    assert set(tree["plan"]) == {"tile_variables", "shard_s", "reuse"}
    assert "# projected seconds of work per shard" in printed


@pytest.mark.parametrize("command", ["", "run", "plan", "status", "edges", "config"])
def test_help_teaches_by_example(command: str) -> None:
    shown = invoke(*([command] if command else []), "--help").stdout
    assert f"mmg-ray {command or 'run'}" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "run.yaml", "--set", "plan.shards=3"), "did you mean 'shard_s'?"),
        (("run", "run.yaml", "--set", "estimator.denoiser=magic"), "known denoisers: auto, "),
        (("plan", "run.yaml", "--set", "data.path=none.csv"), "there is nothing at none.csv"),
        (("status", "nowhere"), "holds no run"),
        (("run", "nowhere"), "neither a configuration (a .yaml file) nor a run"),
        (("run", "none.yaml"), "no such file"),
        (("run", "run.yaml", "--set", "output.url=values.npy/run"), "cannot write"),
    ],
)
@pytest.mark.usefixtures("run_yaml")
def test_a_mistake_is_one_message(arguments: tuple[str, ...], message: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_another_run_at_the_url_is_refused(run_yaml: str) -> None:
    invoke("run", run_yaml)
    result = invoke("run", run_yaml, "--set", "estimator.seed=3")
    assert result.exit_code == 2
    assert "estimator.seed is 0 there and 3 here" in result.stderr


def test_failed_shards_exit_with_1(run_yaml: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def flaky(item: ShardTask) -> Receipt:
        if item.shard == 0:
            raise StoreError("asleep")
        return good(item)

    good = driver.run_shard
    monkeypatch.setattr(driver, "run_shard", flaky)
    result = invoke("run", run_yaml)
    assert result.exit_code == 1
    assert "1 of" in result.stderr
    assert "shard 0: StoreError: asleep" in result.stderr


def test_ctrl_c_exits_with_130_and_says_how_to_go_on(
    run_yaml: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(item: ShardTask) -> Receipt:
        if item.shard == 1:
            raise KeyboardInterrupt
        return good(item)

    good = driver.run_shard
    with monkeypatch.context() as patch:
        patch.setattr(driver, "run_shard", stopped)
        result = invoke("run", run_yaml)
    assert result.exit_code == 130
    assert "`run` again goes on" in result.stderr
    assert len(list(Path("out/edges").iterdir())) == 1
    assert invoke("run", run_yaml).exit_code == 0


def test_network_shows_what_steps_leave_and_export_writes_it(run_yaml: str) -> None:
    settings = "--set=estimator.denoiser=screen"
    assert invoke("run", run_yaml, settings).exit_code == 0
    shown = invoke("network", "out", "--step", "fdr=0.01", "--step", "top=3")
    assert shown.exit_code == 0
    assert "10 variables, 1 edges" in shown.stdout
    assert "--step fdr=0.01 --step top=3" in shown.stdout
    of_one = invoke("network", "out", "--variable", "v1", "--top", "3")
    assert "36 edges), 8 of v1" in words(of_one.stdout)
    assert "did you mean 'v1'" in invoke("network", "out", "--variable", "v11").stderr
    written = invoke("export", "out", "tf.csv", "--format", "scenic", "--step", "fdr=0.01")
    assert "wrote 1 edges" in written.stdout
    assert Path("tf.csv").read_text().startswith("TF,target,importance\nv0,v1,")
    wrong = invoke("export", "out", "tf.txt")
    assert wrong.exit_code == 2
    assert "means no format" in wrong.stderr
    wrong = invoke("network", "out", "--step", "crl")
    assert "there is no network step 'crl'" in wrong.stderr


def test_help_lists_steps_and_formats() -> None:
    shown = words(invoke("export", "--help").stdout)
    for text in ("dpi=TOLERANCE drop the weakest edge", "graphml for Cytoscape"):
        assert text in shown


def test_help_shows_every_command_in_a_section() -> None:
    shown = invoke("--help").stdout
    sections = [line for line in shown.splitlines() if line.endswith(":") and line[0] != " "]
    assert "More:" not in sections, "name the command in _SECTIONS of mmg_ray/cli.py"
    for name in main.list_commands(click.Context(main)):
        assert f"\n  {name} " in shown
    assert "..." not in shown.split("Options:")[1]  # no sentence is cut


@pytest.mark.parametrize(
    "command", ["", "genomics", "neural", "nightly", "submit", "run", "status", "edges"]
)
def test_help_imports_nothing_slow(command: str) -> None:
    listed = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "mmg_ray", *command.split(), "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rsplit("|", 1)[-1].strip() for line in listed.stderr.splitlines()}
    assert "mmg_ray.cli" in imported
    assert not imported & {"torch", "ray", "scipy", "pandas", "pyarrow", "zarr", "anndata"}


def test_looking_at_a_run_does_without_torch(run_yaml: str) -> None:
    invoke("run", run_yaml)
    program = (
        "import sys, mmg_ray; run = mmg_ray.open_run('out'); run.status(); run.edges(); "
        "run.variables(); run.strongest(3); print('torch' in sys.modules)"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert said.stdout == "False\n"
