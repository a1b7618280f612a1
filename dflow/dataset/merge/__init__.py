"""The merge of samples into a dataset: plan, shards, tables, publication."""
