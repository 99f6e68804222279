"""Readable tables: the columns of each section, and the console that prints them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from experiments.speed.output.document import Document, Row

Cell = Callable[[Row], str]


def console() -> Console:
    """Returns the console: the terminal, or a file with lines long enough for a table."""
    return Console() if sys.stdout.isatty() else Console(width=150)


def spread(name: str, form: str = ",.0f") -> Cell:
    """Returns a cell with a median and its quartiles."""

    def cell(row: Row) -> str:
        if row.get(name) is None:
            return "–"
        lower, upper = row[f"{name}_quartiles"]
        return f"{row[name]:{form}} ({lower:{form}} to {upper:{form}})"

    return cell


def value(name: str, form: str = "") -> Cell:
    """Returns a cell with one field."""

    def cell(row: Row) -> str:
        found = row.get(name)
        return "–" if found is None else f"{found:{form}}"

    return cell


def peak(name: str) -> Cell:
    """Returns a cell with a peak memory in MiB."""
    return lambda row: f"{row[name]['bytes'] / 2**20:,.0f}" if name in row else "–"


def megabytes(name: str) -> Cell:
    """Returns a cell with bytes in MB."""
    return lambda row: f"{row[name] / 1e6:,.0f}" if name in row else "–"


WORKLOAD: Mapping[str, Cell] = {
    "network": lambda row: f"{row['network']}, {row['optimizer']}, {row['batch_size']}",
    "type": value("dtype"),
    "path": lambda row: f"{row['path']}, {row['loop']}" if "loop" in row else row.get("path", "–"),
}

COLUMNS: Mapping[str, Mapping[str, Cell]] = {
    "networks": {
        **WORKLOAD,
        "JAX": value("jax"),
        "images/s": spread("images_per_second"),
        "PyTorch": spread("torch_images_per_second"),
        "its best": value("torch_variant"),
        "ours / PyTorch": spread("images_per_second_over_torch", ".2f"),
        "over this JAX": spread("images_per_second_over_this_jax", ".2f"),
        "% of matrix rate": value("share_of_matmul_rate", ".0%"),
        "MiB": peak("peak_memory"),
        "its MiB": peak("torch_peak_memory"),
        "busy": value("busy_elsewhere", ".0%"),
    },
    "updates": {
        "optimizer": value("optimizer"),
        "form": value("updates"),
        "ms": spread("milliseconds", ".1f"),
        "in training ms": spread("checked_milliseconds", ".1f"),
        "cost / SGD's": spread("cost_over_sgd", ".2f"),
        "state MB": megabytes("state_bytes"),
        "PyTorch ms": spread("torch_milliseconds", ".1f"),
        "its form": value("torch_form"),
        "its state MB": megabytes("torch_state_bytes"),
        "ours / its": spread("cost_over_torch", ".2f"),
    },
    "populations": {
        **WORKLOAD,
        "members": value("members"),
        "by": value("members_by"),
        "ms a step and member": spread("milliseconds_per_member_step", ",.2f"),
        "cost / one run's": spread("cost_over_single", ".2f"),
        "side by side": value("side_by_side"),
        "speedup": spread("speedup_side_by_side", ".2f"),
        "MiB": peak("peak_memory"),
        "left out": value("left_out"),
    },
    "epoch": {
        **WORKLOAD,
        "s an epoch": spread("seconds_per_epoch", ".2f"),
        "pure steps": spread("pure_seconds_per_epoch", ".2f"),
        "times": value("epoch_over_pure", ".2f"),
        "evaluation s": value("evaluation_seconds", ".2f"),
        "rest s": value("rest_seconds", ".2f"),
    },
    "startup": {
        **WORKLOAD,
        "cache": value("cache"),
        "s to the first step": spread("seconds_to_first_step", ".1f"),
    },
    "commands": {
        "command": value("command"),
        "cache": value("cache"),
        "s": spread("seconds", ".1f"),
        "of steps": value("seconds_of_steps", ".1f"),
        "of evaluation": value("seconds_of_evaluation", ".1f"),
        "share of the rest": value("share_of_the_rest", ".0%"),
    },
    "devices": {
        "network": value("network"),
        "batch": value("batch_size"),
        "members": value("members"),
        "devices": value("devices"),
        "layers": value("path"),
        "images/s": spread("images_per_second"),
        "over the fewest devices": spread("images_per_second_over_fewest", ".2f"),
    },
    "suite": {
        "workload": value("network"),
        "batch": value("batch_size"),
        "members": lambda row: f"{row['members']}, {row['members_by']}" if "members" in row else "–",
        "examples/s": spread("examples_per_second"),
        "alone": spread("alone_examples_per_second"),
        "PyTorch": spread("torch_examples_per_second"),
        "its best": value("torch_variant"),
        "its ms a step": spread("torch_milliseconds", ".2f"),
        "ours / PyTorch": spread("examples_per_second_over_torch", ".2f"),
        "alone / PyTorch": spread("alone_over_torch", ".2f"),
        "busy": value("busy_elsewhere", ".0%"),
    },
    "resume": {
        "problem": value("problem"),
        "optimizer": value("optimizer"),
        "members": value("members"),
        "s to be ready": spread("seconds_to_start", ".2f"),
        "of processor": spread("processor_seconds_to_start", ".2f"),
        "s to the first step": spread("seconds_to_first_step", ".2f"),
        "files read": value("files_read", ","),
        "reads": value("file_reads", ","),
        "most of one file": value("most_reads_of_a_file"),
        "busy": value("busy_elsewhere", ".0%"),
    },
}


def show(document: Document, console: Console) -> None:
    """Prints the rows of a document."""
    versions = document.versions
    packages = ", ".join(f"{name} {versions[name]}" for name in ("jax", "flax", "torch") if versions.get(name))
    console.print(f"{document.hardware['name']}; {packages}", markup=False, highlight=False)
    if document.quick:
        console.print("quick: so little was measured that these numbers mean nothing", highlight=False)
    for section, columns in COLUMNS.items():
        rows = [row for row in document.rows if row["section"] == section]
        if rows:
            console.print(section_table(section, columns, rows))


def line(row: Row) -> str:
    """Returns a row as one line, which is printed while the next row is measured."""
    names = ("section", "network", "optimizer", "batch_size", "dtype", "path", "members", "cache")
    where = " ".join(str(row[name]) for name in names if name in row)
    cells = {name: cell(row) for name, cell in COLUMNS[row["section"]].items() if name not in WORKLOAD}
    return f"{where}: " + ", ".join(f"{name} {text}" for name, text in cells.items() if text != "–")


def section_table(section: str, columns: Mapping[str, Cell], rows: Sequence[Row]) -> Table:
    """Returns the table of a section: medians, with quartiles in brackets."""
    table = Table(title=section, box=box.SIMPLE, title_justify="left")
    for name in columns:
        table.add_column(name, no_wrap=name in ("network", "type", "path"))
    for row in rows:
        table.add_row(*(cell(row) for cell in columns.values()))
    return table
