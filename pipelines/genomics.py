"""From an expression matrix to a gene network; without arguments, the blood cells that scanpy carries.

The same as ``mmg-ray genomics``, whose ``--help`` says what there is to choose.
"""

import sys

from mmg_ray.cli import main

if __name__ == "__main__":
    main(["genomics", *sys.argv[1:]], prog_name="mmg-ray")
