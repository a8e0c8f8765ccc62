"""One run on the workers of a dask cluster: they make the traces, this process alone writes them.

Which worker makes which attempt, and what becomes of those of a lost one, is dask's business. `job` is what travels;
`lanes` holds the model in the memory of a worker and drives its lanes; `plugin` brings it there and says whether the
worker may take part; `connect` reaches a cluster or starts one on this machine; `client` submits and writes.
"""

from localent.cluster.client import run
from localent.cluster.connect import Cluster

__all__ = ["Cluster", "run"]
