"""What runs inside one rank: its shard of the model, its passes, its training."""
