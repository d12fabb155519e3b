"""One scheduled run. The same as ``mmg-ray nightly``."""

import sys

from mmg_ray.cli import main

if __name__ == "__main__":
    main(["nightly", *sys.argv[1:]], prog_name="mmg-ray")
