"""Questions to a dataset: columns, conditions, distributions, SQL."""
