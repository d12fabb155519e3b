"""The short form of the campaign of malformed inputs; `make attack` runs it in full."""

from __future__ import annotations

import attack_inputs


def test_malformed_inputs_are_refused_or_read_and_nothing_else() -> None:
    table = attack_inputs.run(64, seed=1, limit_s=120)
    assert table.n_tried > 20
    assert not table.bad, str(table)
