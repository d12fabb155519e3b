"""The short forms of the campaigns of malformed inputs; `make attack` runs them in full."""

from __future__ import annotations

import attack_inputs
import attack_recordings


def test_malformed_inputs_are_refused_or_read_and_nothing_else() -> None:
    table = attack_inputs.run(64, seed=1, limit_s=120)
    assert table.n_tried > 20
    assert not table.bad, str(table)


def test_malformed_recordings_are_refused_or_read_and_nothing_else() -> None:
    table = attack_recordings.run(75, seed=2, limit_s=120)
    assert table.n_tried > 20
    assert not table.bad, str(table)
