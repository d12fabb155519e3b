"""From a recording to a network of units, areas or regions; without arguments, the fMRI that nitime carries.

The same as ``mmg-ray neural``, whose ``--help`` says what there is to choose.
"""

import sys

from mmg_ray.cli import main

if __name__ == "__main__":
    main(["neural", *sys.argv[1:]], prog_name="mmg-ray")
