"""Prediction of any number of images by Ray Data, on this machine or on a cluster."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

import pyarrow as pa
from tqdm import tqdm

from efficientps_d2.prediction.batch_models import BatchModel
from efficientps_d2.prediction.ray_cluster import (
    Resources,
    explained,
    following,
    nodes,
    running_ray,
    share_out,
)
from efficientps_d2_runtime.batch.image_table import shard_size, write_listing
from efficientps_d2_runtime.batch.ledger import Ledger
from efficientps_d2_runtime.batch.listing import leaves_out_folders, list_images
from efficientps_d2_runtime.batch.output import ERRORS, LOCK, MANIFEST, Manifest, Output
from efficientps_d2_runtime.batch.storage import Folder
from efficientps_d2_runtime.batch.worker import Job
from efficientps_d2_runtime.errors import InputError, Stopped
from efficientps_d2_runtime.locks import CAN_LOCK, HeldError, lock

SHOWN = 3  # errors
MOST_BLOCKS = 5000  # of Ray Data; more shards than that come in groups


def predict_batch(
    source: str,
    output: Output,
    model: BatchModel,
    *,
    column: str = "",
    address: str = "",
    workers: int = 0,
    batch_size: int = 1,
    size: int = 0,
    retry_errors: bool = False,
) -> int:
    """Predict what is not finished yet; returns how many images failed.

    Args:
        source: a folder, a pattern or Parquet; see :func:`list_images`.
        output: where results go.
        model: which predicts.
        column: of Parquet files.
        address: of a cluster; by default that of RAY_ADDRESS, or Ray starts here for this command.
        workers: how many; 0 for one of each GPU, or else of each four cores.
        batch_size: images of one size that a model predicts at once.
        size: images of a shard; 0 for a number that fits.
        retry_errors: also repeat shards in which images failed.

    Raises:
        InputError: if anything cannot be used.
        Stopped: after Ctrl-C.
    """
    with ExitStack() as stack:
        stack.enter_context(_alone(output))
        images, table = Folder(source), None
        source = images.whole_address
        manifest = output.manifest()  # which refuses a folder of something else
        output.remove_partial()
        if manifest:
            _require_same(output, manifest, source, column, model.about)
            shards = _unfinished(output, manifest, retry_errors)
            if not shards:
                return _say_done(output, manifest)
        else:
            table = _list(source, column, model.suffixes)
        stack.enter_context(running_ray(address, sum(map(len, model.files.values()))))
        resources = share_out(nodes(), workers, model.uses_gpu)
        if table is not None:
            size = size or shard_size(len(table), resources.workers)
            manifest = _begin(output, source, column, table, size, model)
            shards = list(range(manifest.shards))
        job = Job(images, column, output, model.load, batch_size)
        return _run(job, manifest, shards, model, resources)


@contextmanager
def _alone(output: Output) -> Iterator[None]:
    """Refuse a second command for an output on this machine's disks."""
    if not (CAN_LOCK and output.folder.is_local):
        yield
        return
    folder = Path(output.folder.path)
    was_there, held = folder.exists(), nullcontext()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = lock(folder / LOCK)
    except HeldError as error:
        raise InputError(
            f"Another command (process {error.holder}) writes to {output}; wait for it, or give "
            "another --output."
        ) from error
    except OSError as error:
        reason = error.strerror or error
        if error.filename:  # else it lies where nothing can be locked
            raise InputError(
                f"{output} cannot be written ({reason}); give another folder."
            ) from error
        print(f"{output} cannot be locked ({reason}): start no second command for it.")
    with held:
        try:
            yield
        finally:
            if not (folder / MANIFEST).exists():  # nothing was begun
                (folder / LOCK).unlink(missing_ok=True)
                if not was_there:
                    with suppress(OSError):  # it holds something else
                        folder.rmdir()


def _require_same(output: Output, earlier: Manifest, source: str, column: str, about: dict) -> None:
    """Refuse an output of other images or of another model."""
    cure = "go on with the same, or give another --output"
    if earlier.model.get("sha256") != about["sha256"]:
        raise InputError(
            f"{output} holds results of another model, which was {earlier.model.get('name')}; "
            f"{cure}."
        )
    before = {**earlier.model, "--input": earlier.input, "--column": earlier.column, "name": ""}
    for flag, now in {**about, "--input": source, "--column": column, "name": ""}.items():
        if before.get(flag) != now:
            raise InputError(
                f"{output} was begun {_given(flag, before.get(flag))}, not {_given(flag, now)}; "
                f"{cure}."
            )


def _given(flag: str, value) -> str:
    """A flag in a sentence."""
    if value in (None, "", []) or (flag, value) == ("--tile", 0):
        return f"without {flag}"
    return f"with {flag} {' '.join(value) if isinstance(value, list) else value}"


def _list(source: str, column: str, suffixes: tuple[str, ...]) -> pa.Table:
    with tqdm(desc="listing", unit="image", unit_scale=True, leave=False, delay=1) as bar:
        images = list_images(source, column, suffixes, lambda count: bar.update(count - bar.n))
    if leaves_out_folders(source, images):
        print(f"The folders in {source} are left out; '{source}/**' takes their images, too.")
    return images


def _begin(
    output: Output, source: str, column: str, table: pa.Table, size: int, model: BatchModel
) -> Manifest:
    """Write what an output is of."""
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    manifest = Manifest(source, column, len(table), size, model.about, model.categories, now)
    output.begin(manifest, write_listing(table, size))
    return manifest


def _unfinished(output: Output, manifest: Manifest, retry_errors: bool) -> list[int]:
    finished = output.finished()
    if retry_errors:
        failed = {shard for shard in finished if output.errors(shard)}
        for shard in failed:
            output.forget(shard)
        finished -= failed
    return sorted(set(range(manifest.shards)) - finished)


def _say_done(output: Output, manifest: Manifest) -> int:
    print(f"All {manifest.images:,} images of {output} were predicted before.")
    return _say_failed(output)


def _say_failed(output: Output) -> int:
    """Name the first images that failed; returns how many did, of all starts."""
    if failed := output.count_errors():
        print(f"{failed:,} failed; the table {output.folder.name(ERRORS)} names all of them:")
        for sentence in output.first_errors(SHOWN):
            print(f"  {sentence}")
        if failed > SHOWN:
            print("  ...")
        print("Mend what can be mended, and repeat the command with --retry-errors.")
    return failed


def _run(
    job: Job, manifest: Manifest, shards: list[int], model: BatchModel, resources: Resources
) -> int:
    """Predict shards by Ray Data; returns how many images failed."""
    import ray
    from ray.data import ActorPoolStrategy

    from efficientps_d2_runtime.batch.ray_worker import RayWorker

    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    ledger = ray.remote(Ledger).options(num_cpus=0, scheduling_strategy=here)
    ledger = ledger.remote(resources.workers, model.files)
    load = partial(model.load, resources.cpus, bool(resources.gpus))
    threads = resources.cpus if resources.gpus else 1
    blocks = min(len(shards), MOST_BLOCKS)
    rows = ray.data.from_items([{"shard": n} for n in shards], override_num_blocks=blocks)
    rows = rows.map_batches(
        RayWorker,
        batch_size=1,
        compute=ActorPoolStrategy(size=min(resources.workers, blocks)),
        num_cpus=resources.cpus,
        num_gpus=resources.gpus or None,
        fn_constructor_kwargs={
            "job": replace(job, load=load, threads=threads),
            "ledger": ledger,
        },
    )
    total, failed = sum(map(manifest.images_of, shards)), 0
    _say(manifest, total, resources)
    with following(ledger, total) as bar:
        try:
            for row in rows.iter_rows():
                failed += int(row["failed"])
        except KeyboardInterrupt as error:
            raise Stopped(
                f"{bar.n:,} of {total:,} images are done, and the shards that were begun are "
                "repeated; the same command goes on."
            ) from error
        except ray.exceptions.RayError as error:
            raise explained(error) from error
        bar.update(total - bar.n)
    print(f"Wrote {total - failed:,} of {total:,} images to {job.output}.")
    job.output.remove_partial()
    of_all_starts = _say_failed(job.output)
    if total < manifest.images:
        print(f"It has {manifest.images - of_all_starts:,} of {manifest.images:,} by now.")
    return of_all_starts


def _say(manifest: Manifest, total: int, resources: Resources) -> None:
    """What begins now."""
    cores = "1 core" if resources.cpus == 1 else f"{resources.cpus} cores"
    of_each = f"{resources.gpus} GPU" if resources.gpus else cores
    workers = f"{resources.workers} workers with {of_each} each load the model first"
    if resources.workers == 1:
        workers = f"a worker with {of_each} loads the model first"
    images = "1 image" if manifest.images == 1 else f"{manifest.images:,} images"
    part = "" if total == manifest.images else f"{total:,} of "
    print(f"{part}{images} to predict; {workers}.", flush=True)
