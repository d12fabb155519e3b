"""Hand a command to a Ray cluster through its Jobs API. The same as ``mmg-ray submit``."""

import sys

from mmg_ray.cli import main

if __name__ == "__main__":
    main(["submit", *sys.argv[1:]], prog_name="mmg-ray")
