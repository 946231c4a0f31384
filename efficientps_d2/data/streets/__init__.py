"""The painted dataset *streets*."""
