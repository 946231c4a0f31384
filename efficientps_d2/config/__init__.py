"""Config keys, and the loading of configs."""
