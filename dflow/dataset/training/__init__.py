"""Training on a dataset: splits, order, batches, PyTorch."""
