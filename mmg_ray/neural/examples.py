"""The worked examples: recordings that the installed package nitime carries, which is not imported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmg_ray.store.run import Run

_FOLDER = Path(__file__).parent
EXAMPLES = {"fmri": _FOLDER / "fmri.yaml", "grasshopper": _FOLDER / "grasshopper.yaml"}
_DATA = "nitime/data"


def prepare(name: str, folder: Path) -> list[str]:
    """The settings that fill in where an example's data lie; what is not a table yet is written.

    fmri: mean signals of 28 brain regions, white matter, ventricles and brain, one volume each 1.89 s.
    grasshopper: an auditory receptor cell and the sound's envelope, 10 s, times in microseconds.
    """
    import numpy as np  # this and jobs take a second: --help does without

    from mmg_ray.jobs import packaged

    if name == "fmri":
        return [f"data.path={packaged('nitime', f'{_DATA}/fmri_timeseries.csv')}"]
    spikes, sound = folder / "spikes.npz", folder / "sound.csv"
    folder.mkdir(parents=True, exist_ok=True)
    times = np.loadtxt(packaged("nitime", f"{_DATA}/grasshopper_spike_times1.txt"))
    np.savez(spikes, receptor=times * 1e-6)
    envelope = np.loadtxt(packaged("nitime", f"{_DATA}/grasshopper_stimulus1.txt"))
    envelope[:, 0] *= 1e-6
    np.savetxt(sound, envelope[::10], "%.7g", ",", header="time,sound", comments="")
    return [f"data.path={spikes}", f"between.stimulus_path={sound}"]


def mirrored(run: Run) -> str:
    """Of regions of both hemispheres, how many have their mirror image as the strongest partner."""
    import numpy as np

    names = run.names
    twins = {f"L{name[1:]}": name for name in names if name[0] == "R"}
    twins = {left: right for left, right in twins.items() if left in names}
    mi = np.asarray(run.matrix("mi_nats"))
    regions = [names.index(n) for pair in twins.items() for n in pair]
    best = 0
    for left, right in twins.items():
        row = mi[names.index(left), regions]
        best += names[regions[int(np.nanargmax(row))]] == right
    return (
        f"known:   of {len(twins)} regions of the left hemisphere {best} depend most on their mirror image "
        f"on the right ({len(twins) / max(len(regions) - 1, 1):.1f} by chance)"
    )
