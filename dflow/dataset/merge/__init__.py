"""From samples to one dataset: the plan, the shards, the tables, publication."""
