"""From impacts to sets: rules, thresholds and how much the sets depend on them (paper A, Eq. 2-3)."""
