"""Prediction of any number of images by several workers, into shards of results.

From the images of an input to the results of an output:

1. ``listing`` finds the images, once; ``image_table`` keeps them, and says which are a shard's.
2. ``worker`` predicts a shard: it reads its images, and writes PNGs and tables by ``shard``.
3. ``ledger`` counts what is done, and on which images workers have died.
4. ``output`` knows which shards are finished.

All but Ray itself, which ``efficientps_d2.prediction.batch`` starts, lives here, where a worker
needs no PyTorch. Files are read and written by ``storage``, on disks and in object storage.
"""

from efficientps_d2_runtime.errors import InputError

try:
    import pyarrow  # noqa: F401
except ModuleNotFoundError as error:
    raise InputError(
        'Batches and object storage need pyarrow; run: pip install -e runtime -e ".[ray]", or pip '
        "install pyarrow."
    ) from error
except ImportError as error:  # pyarrow 26 with NumPy 1.26
    raise InputError(
        f"Batches and object storage need pyarrow, which cannot be loaded here ({error}); install "
        'another version, for NumPy 1.26: pip install "pyarrow<26".'
    ) from error
