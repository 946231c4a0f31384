"""Workers as actors of Ray."""

import numpy as np
import ray

from efficientps_d2_runtime.batch.worker import Job, Worker


class RayWorker:
    """What Ray Data calls with the numbers of shards."""

    def __init__(self, job: Job, ledger):
        """
        Args:
            job: what is to be done.
            ledger: a handle of the :class:`Ledger`.
        """
        self.worker = Worker(job, AskedLedger(ledger))

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = [self.worker.predict_shard(int(shard)) for shard in batch["shard"]]
        return {"failed": np.array([failed for _, failed in found])}


class AskedLedger:
    """Asks the :class:`Ledger` in another process, and waits for the answer."""

    def __init__(self, actor):
        self._actor = actor

    def __getattr__(self, name: str):
        return lambda *values: ray.get(getattr(self._actor, name).remote(*values))
