"""The check of a dataset: problems, their repair, statistics, suggestions."""
