"""`python -m mmg_ray` is `mmg-ray`."""

from mmg_ray.cli import main

if __name__ == "__main__":
    main(prog_name="mmg-ray")
