"""What became of the samples that a build asked for: kept and rejected by task, with the reasons."""

from collections import Counter, defaultdict
from pathlib import Path

from comvint_hf.dataset.reader import list_configs, read_columns
from comvint_hf.dataset.shards import REJECTED, read_markers

MOST_REASONS = 3


def read_yields(folder: Path) -> dict[str, tuple[int, Counter[str]]]:
    """The kept rows, and the rejected ones by the first words of their reason, of each task.

    The shards are read and not the dataset, which a build that was stopped has not finished.
    """
    configs = list_configs(name for marker in read_markers(folder) for name in marker["files"])
    paths = {config: [folder / name for names in splits.values() for name in names] for config, splits in configs.items()}
    kept: Counter[str] = Counter(row["task"] for path in paths.get("default", ()) for row in read_columns(path, ("task",)))
    reasons: dict[str, Counter[str]] = defaultdict(Counter)
    for path in paths.get(REJECTED, ()):
        for row in read_columns(path, ("task", "reason")):
            reasons[row["task"] or "(no task)"][row["reason"].partition(":")[0]] += 1
    return {task: (kept[task], reasons[task]) for task in sorted({*kept, *reasons})}


def format_table(folders: dict[str, Path]) -> str:
    """Format the yields of several builds as one Markdown table."""
    lines = ["| recipe | task | samples | kept | rejected for |", "|---|---|---:|---:|---|"]
    for name, folder in folders.items():
        for task, (kept, reasons) in read_yields(folder).items():
            asked = kept + reasons.total()
            why = ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common(MOST_REASONS)) or "-"
            lines.append(f"| {name} | {task} | {asked} | {kept} ({kept / asked:.0%}) | {why} |")
    return "\n".join(lines)
