"""The plan: every pair once, whatever the mode and the cut; costs add up."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmg_ray.config import EdgesConfig, ExecuteConfig
from mmg_ray.errors import DataError
from mmg_ray.execute import planning
from mmg_ray.plan.cost import CPU_FLOPS, GPU_FLOPS, Workload, project, tile_seconds
from mmg_ray.plan.pairs import PairSet, all_pairs, listed, source_pairs
from mmg_ray.plan.tiles import Plan, cut_shards
from mmg_ray.schema import Cost


def quadratic(dim_x: int, dim_y: int) -> Cost:
    return Cost(flops=1e9 * dim_x * dim_y * (dim_x + dim_y), peak_bytes=100.0 * dim_x * dim_y)


def build(pairs: PairSet, size: int, dims: np.ndarray, shard_s: float) -> Plan:
    seconds = tile_seconds(pairs, size, Workload(dims, 100, quadratic))
    return Plan(pairs, size, cut_shards(seconds, shard_s))


@st.composite
def plans(draw: st.DrawFn) -> tuple[Plan, set[tuple[int, int]], np.ndarray]:
    """A plan, the pairs it should hold, and the dimensions of its variables."""
    n = draw(st.integers(2, 30))
    everything = {(i, j) for i in range(n) for j in range(i + 1, n)}
    mode = draw(st.sampled_from(["all", "bipartite", "list"]))
    if mode == "all":
        pairs, expected = all_pairs(n), everything
    elif mode == "bipartite":
        sources = draw(st.sets(st.integers(0, n - 1), min_size=1))
        pairs = source_pairs(n, np.array(sorted(sources)))
        expected = {pair for pair in everything if sources & set(pair)}
    else:
        wanted = draw(st.lists(st.sampled_from(sorted(everything)), min_size=1))
        turned = [pair if draw(st.booleans()) else pair[::-1] for pair in wanted]
        pairs, expected = listed(n, np.array(turned)), set(wanted)
    dims = np.array(draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)))
    size, shard_s = draw(st.integers(1, 35)), draw(st.floats(0.01, 50))
    return build(pairs, size, dims, shard_s), expected, dims


@given(plans())
@settings(max_examples=150, deadline=None)
def test_the_tiles_of_all_shards_cover_every_pair_exactly_once(
    case: tuple[Plan, set[tuple[int, int]], np.ndarray],
) -> None:
    plan, expected, _ = case
    shards = [plan.shard_tiles(shard) for shard in range(plan.n_shards)]
    assert all(len(tiles) > 0 for tiles in shards)
    assert [tile for tiles in shards for tile in tiles] == list(range(plan.n_tiles))
    found = [list(map(tuple, plan.tile_pairs(tile).tolist())) for tile in range(plan.n_tiles)]
    assert all(pairs and pairs == sorted(pairs) for pairs in found)
    flat = [pair for pairs in found for pair in pairs]
    assert len(flat) == len(set(flat)) == plan.n_pairs
    assert set(flat) == expected
    assert plan.shard_pairs().tolist() == [sum(len(found[t]) for t in tiles) for tiles in shards]


@given(plans(), st.data())
@settings(max_examples=100, deadline=None)
def test_a_band_finds_every_shard_that_holds_its_pairs(
    case: tuple[Plan, set[tuple[int, int]], np.ndarray], data: st.DataObject
) -> None:
    plan = case[0]
    first = data.draw(st.integers(0, plan.n_variables - 1))
    last = data.draw(st.integers(first + 1, plan.n_variables))
    holding = {
        shard
        for shard in range(plan.n_shards)
        for tile in plan.shard_tiles(shard)
        for pair in plan.tile_pairs(tile)
        if any(first <= index < last for index in pair)
    }
    assert holding <= set(plan.shards_touching(first, last).tolist())


@given(plans())
@settings(max_examples=100, deadline=None)
def test_projected_seconds_are_the_sum_over_pairs(
    case: tuple[Plan, set[tuple[int, int]], np.ndarray],
) -> None:
    plan, expected, dims = case
    work = Workload(dims, 100, quadratic)
    seconds = work.seconds()
    by_tile = [
        sum(seconds(dims[i], dims[j]) for i, j in plan.tile_pairs(tile))
        for tile in range(plan.n_tiles)
    ]
    np.testing.assert_allclose(tile_seconds(plan.pairs, plan.tile_variables, work), by_tile)
    total = sum(seconds(dims[i], dims[j]) for i, j in expected)
    assert project(plan, work, EdgesConfig()).task_s == pytest.approx(total)


def test_work_of_the_host_counts_on_either_device() -> None:
    work = Workload(np.ones(2, dtype=int), 100, lambda _x, _y: Cost(2e12, 0.0, host_s=3.0))
    on_cpu, on_gpu = work.seconds()(1, 1), work.seconds(gpu_share=1.0)(1, 1)
    assert on_cpu == pytest.approx(3 + 2e12 / CPU_FLOPS, rel=1e-4)
    assert on_gpu == pytest.approx(3 + 2e12 / GPU_FLOPS, rel=1e-4)


def test_shards_take_about_the_time_asked_for() -> None:
    plan = build(all_pairs(200), 8, np.ones(200, dtype=int), shard_s=5.0)
    seconds = tile_seconds(plan.pairs, 8, Workload(np.ones(200, dtype=int), 100, quadratic))
    shards = [
        seconds[plan.shard_tiles(s).start : plan.shard_tiles(s).stop].sum()
        for s in range(plan.n_shards)
    ]
    assert all(abs(s - 5.0) <= seconds.max() for s in shards[:-1])


def test_twenty_thousand_variables_cost_next_to_nothing_to_hold() -> None:
    plan = build(all_pairs(20_000), 64, np.ones(20_000, dtype=int), shard_s=30.0)
    assert plan.n_pairs == 199_990_000
    assert len(plan.tile_pairs(1000)) == 64 * 64
    held = plan._tiles.nbytes + plan.starts.nbytes + sum(map(sys.getsizeof, plan._blocks))
    assert held < 2e6


def test_consecutive_tiles_share_variables() -> None:
    """The Z-order: a shard of T tiles needs about 2 sqrt(T) blocks, not T + 1."""
    plan = build(all_pairs(5000), 16, np.ones(5000, dtype=int), shard_s=820.0)
    n_tiles, n_blocks = [], []
    for shard in range(0, plan.n_shards, 100):
        tiles = plan.shard_tiles(shard)
        n_tiles.append(len(tiles))
        n_blocks.append(len(np.unique(np.concatenate([plan.tile_pairs(t) for t in tiles]) // 16)))
    assert np.mean(n_tiles) > 15
    assert np.mean(n_blocks) < 0.7 * np.mean(n_tiles)


def test_a_pair_of_a_variable_with_itself_is_refused() -> None:
    with pytest.raises(DataError, match="variable 2 with itself"):
        listed(4, np.array([[0, 1], [2, 2]]))


def test_an_index_beyond_the_table_is_refused() -> None:
    with pytest.raises(DataError, match=r"leave 0\.\.3"):
        source_pairs(4, np.array([1, 4]))


def test_one_variable_has_no_tile() -> None:
    plan = build(all_pairs(1), 4, np.ones(1, dtype=int), shard_s=1.0)
    assert (plan.n_pairs, plan.n_tiles, plan.n_shards) == (0, 0, 0)
    assert (
        project(plan, Workload(np.ones(1, dtype=int), 100, quadratic), EdgesConfig()).n_stored == 0
    )


def test_projected_bytes_honour_what_is_stored() -> None:
    dims = np.ones(2000, dtype=int)
    plan = build(all_pairs(2000), 64, dims, shard_s=100.0)
    work = Workload(dims, 100, quadratic)
    everything = project(plan, work, EdgesConfig())
    assert everything.n_stored == plan.n_pairs

    edges_only = project(plan, work, EdgesConfig(matrix=False))
    n_cells = 2 * plan.n_pairs
    assert everything.output_bytes - edges_only.output_bytes == 3 * 4 * n_cells

    significant = project(plan, work, EdgesConfig(max_p_value=1e-3, matrix=False))
    assert significant.n_stored == pytest.approx(1e-3 * plan.n_pairs)
    assert significant.output_bytes < 0.02 * edges_only.output_bytes
    # pairs that do depend on one another come on top: memory is for all of them
    assert significant.peak_bytes == everything.peak_bytes

    best = project(plan, work, EdgesConfig(top_k=50))
    assert best.n_stored == 100 * plan.n_shards
    assert best.peak_bytes < everything.peak_bytes


def test_little_work_is_done_here_and_much_on_ray():
    little, much = 0.5 * planning._RAY_START_S, 2 * planning._RAY_START_S
    assert planning.executor_of(ExecuteConfig(), little, "runs/x") == "serial"
    assert planning.executor_of(ExecuteConfig(), much, "runs/x") == "ray"
    assert planning.executor_of(ExecuteConfig(), much, "memory://x") == "serial"
    for elsewhere in (
        ExecuteConfig(address="auto"),
        ExecuteConfig(num_gpus=1),
        ExecuteConfig("ray"),
    ):
        assert planning.executor_of(elsewhere, little, "runs/x") == "ray"
    assert planning.executor_of(ExecuteConfig("serial"), much, "runs/x") == "serial"
