"""Runs that a clock starts; recipes for Kubernetes, systemd and cron lie in mmg_ray/scheduled."""
