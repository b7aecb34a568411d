"""The stages of a study, in order: corpora, detection, selection, ablation, metrics."""
