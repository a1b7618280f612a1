"""A dataset on disk: layout, manifest, shards, tables and where they lie."""
