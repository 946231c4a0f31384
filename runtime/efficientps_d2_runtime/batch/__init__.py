"""Prediction of any number of images by several workers, into shards of results.

From the images of an input to the results of an output:

1. ``listing`` finds the images, once; ``image_table`` keeps them, and says which are a shard's.
2. ``worker`` predicts a shard: it reads its images, and writes PNGs and tables by ``shard``.
3. ``ledger`` counts what is done, and on which images workers have died.
4. ``output`` knows which shards are finished.

All but Ray itself, which ``efficientps_d2.prediction.batch`` starts, lives here, where a worker
needs no PyTorch. Files are read and written by ``storage``, on disks and in object storage.
"""

from efficientps_d2_runtime.errors import InputError, one_line

try:
    import pyarrow  # noqa: F401
except ImportError as error:
    need = "Batches and object storage need pyarrow"
    if isinstance(error, ModuleNotFoundError) and error.name == "pyarrow":
        raise InputError(
            f'{need}; run: pip install -e runtime -e ".[ray]", or pip install pyarrow.'
        ) from error
    raise InputError(  # pyarrow 26 with NumPy 1.26
        f"{need}, which cannot be loaded here ({one_line(error)}); install another version, for "
        'NumPy 1.26: pip install "pyarrow<26".'
    ) from error
