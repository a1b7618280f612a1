"""From a dataset to training: splits, order, batches, PyTorch."""
