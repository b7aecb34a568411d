"""Where the language-agnostic score (Eq. 6) divides models into low, middle and high. Imports nothing heavy."""

import math

LOW_SCORE = 1.0
"""Below: "early-stage" models, whose scores are "around 1" (section 3.3). Figure 5 draws its line at log 2 = 0.69,
where shared and exclusive neurons weigh the same."""

HIGH_SCORE = math.log(101)
"""Above: shared neurons weigh a hundred times what exclusive ones do (Eq. 6: log(1 + 100) = 4.6), our reading of
"several orders of magnitude" (section 3.3). Table 1 names the models it calls low, middle and high, but no score."""
