"""Training: trainer, hooks, optimizer, validation."""
