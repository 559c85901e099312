# SPDX-License-Identifier: GPL-2.0-or-later
"""What the cells came to: a line for each, a table, and JSON."""
import json

PARTS = ("detect_ms", "fence_ms", "replay_ms")


def ms(value):
    return "-" if value is None else f"{value:.0f}"


def text_of(entry):
    """A cell in a few words."""
    if "impossible" in entry:
        return "no such cell"
    if "failed" in entry:
        return "FAILED"
    if entry["goes_on"]:
        return f"{ms(entry['resume_ms'])} (nobody fenced)"
    return f"{ms(entry['resume_ms'])} ({'+'.join(ms(entry[part]) for part in PARTS)})"


def line_of(entry):
    """A cell as it is reported when it has been played."""
    text = f"{entry['row']:20} {entry['column']:8} {text_of(entry):30}"
    if "failed" in entry:
        return f"{text} {entry['failed']}"
    if "impossible" in entry:
        return f"{text} {entry['impossible']}"
    return (f"{text} directory {ms(entry['folder_ms'])}, {entry['records']} records there, by {entry.get('recoverer') or '-'}"
            f", cell {entry['seconds']:.1f} s")


def table(entries, rows, columns):
    """Rows by columns."""
    cells = {(e["row"], e["column"]): text_of(e) for e in entries}
    lines = [f"{'first write, ms (detect+fence+replay)':37}" + "".join(f"{c.name:>28}" for c in columns)]
    for row in rows:
        if any((row.name, c.name) in cells for c in columns):
            lines.append(f"{row.name:37}" + "".join(f"{cells.get((row.name, c.name), ''):>28}" for c in columns))
    return "\n".join(lines)


def write(path, bed, entries, findings):
    """All of it, for programs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    report = {"schema": 1, "bed": bed.name, "nodes": len(bed.cluster.nodes), "token_ms": bed.cluster.token_ms,
              "path_timeout_s": bed.path_s, "cells": entries, "check_clean": findings == [], "findings": findings}
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
