"""What all LightGBM models here are trained with: repeatable, on one thread, leaves drawn strongly to the mean.

Labels come from what users did next and are wrong now and then; a model that can follow single examples learns their
noise (compared out of time on held-out days of a log).
"""

from __future__ import annotations

from typing import Any

STEADY: dict[str, Any] = {
    "min_data_in_leaf": 30,
    "lambda_l2": 10.0,
    "max_bin": 127,
    "seed": 7,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}
