"""Prints what was survived, where a person asked for it: `make faults`."""

import os

import disturbed


def pytest_terminal_summary(terminalreporter):
    if not disturbed.ROWS or not os.environ.get("MMG_RAY_FAULT_TABLE"):
        return
    write = terminalreporter.write_line
    write("| fault | time to recover | pairs lost | repeated |")
    write("|---|---|---|---|")
    for fault, seconds, lost, repeated in disturbed.ROWS:
        write(f"| {fault} | {seconds:.1f} s | {lost} | {repeated} |")
