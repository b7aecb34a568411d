"""No test asks a hub: what is not here is missing, on every machine alike."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported, so here
