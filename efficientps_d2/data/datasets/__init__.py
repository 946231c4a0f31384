"""Registration of datasets: built in, in folders, and anywhere else."""
