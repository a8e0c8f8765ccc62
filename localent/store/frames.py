"""Tables of a run for notebooks: a pandas.DataFrame where pandas is installed, else a dict of numpy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from localent.store.reader import Reader

if TYPE_CHECKING:
    import pandas
    from numpy.typing import NDArray

    Array = NDArray[Any]
    Frame: TypeAlias = pandas.DataFrame | dict[str, Array]


class Frames(Reader):
    """The methods of Database for notebooks. Columns as in the method without `_frame`; pandas=False: always arrays."""

    def traces_frame(self, run_id: str, columns: Sequence[str] = (), *, pandas: bool | None = None) -> Frame:
        """A row per trace: the view trace_summary."""
        return frame(self.traces(run_id, columns), pandas=pandas)

    def tokens_frame(self, run_id: str, columns: Sequence[str] = (), *, pandas: bool | None = None) -> Frame:
        """A row per generated token."""
        return frame(self.tokens(run_id, columns), pandas=pandas)

    def steps_frame(self, run_id: str, columns: Sequence[str] = (), *, pandas: bool | None = None) -> Frame:
        """A row per reasoning step, or statement of the answer."""
        return frame(self.steps(run_id, columns), pandas=pandas)

    def probes_frame(self, run_id: str, columns: Sequence[str] = (), *, pandas: bool | None = None) -> Frame:
        """A row per answer distribution read: the view step_entropy."""
        return frame(self.probes(run_id, columns), pandas=pandas)

    def answers_frame(self, run_id: str, columns: Sequence[str] = (), *, pandas: bool | None = None) -> Frame:
        """A row per possible answer."""
        return frame(self.answers(run_id, columns), pandas=pandas)


def frame(columns: dict[str, list[Any]], *, pandas: bool | None = None) -> Frame:
    """Columns of Python values -> DataFrame or dict of arrays. `pandas` None: a DataFrame where pandas is installed."""
    arrays = {name: array(values) for name, values in columns.items()}
    if pandas is False:
        return arrays
    try:
        from pandas import DataFrame
    except ImportError:
        if pandas:
            raise
        return arrays
    return DataFrame(arrays)


def array(values: Sequence[Any]) -> Array:
    """int64, float64 (a missing number is NaN), or object for text, where a missing one is None."""
    import numpy as np  # here: the command line must not wait for it

    kinds = {type(value) for value in values}
    if kinds <= {int} and kinds:
        return np.array(values, np.int64)
    if kinds <= {int, float, type(None)} and kinds != {type(None)}:
        return np.array([np.nan if value is None else value for value in values], np.float64)
    found = np.empty(len(values), object)
    found[:] = values
    return found
