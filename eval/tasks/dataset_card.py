"""Dataset cards, by which `datasets` finds the files of a folder."""

from collections.abc import Mapping


def dataset_card(configs: Mapping[str, Mapping[str, str]]) -> str:
    """A dataset card (README.md) that names the files of each configuration and split."""
    lines = ["---", "configs:"]
    for config, splits in configs.items():
        lines += [f"- config_name: {config}", "  data_files:"]
        for split, path in splits.items():
            lines += [f"  - split: {split}", f"    path: {path}"]
    return "\n".join([*lines, "---", ""])
