"""What is made of a model: files for other runtimes, converted checkpoints, a table of its size."""
