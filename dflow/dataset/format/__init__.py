"""A dataset on disk: layout, manifest, shards, tables and their paths."""
