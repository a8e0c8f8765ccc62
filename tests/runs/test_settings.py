"""Settings of a run: those that came later change no earlier id, and a stored run gives back what it was made with."""

import pytest

from localent.errors import UsageError
from localent.measure.sampling import Penalties
from localent.records import Run
from localent.runs.identity import LATER, _recorded
from localent.runs.settings import Settings, settings_of

PENALISED = {"min_p": 0.05, "repeat_penalty": 1.1, "presence_penalty": 1.5, "frequency_penalty": 0.2}


def test_a_setting_that_came_later_is_recorded_only_where_it_is_used():
    assert not set(_recorded(Settings())) & set(LATER)
    for name, value in (PENALISED | {"repeat_last_n": -1}).items():
        assert _recorded(Settings(**{name: value})) == _recorded(Settings()) | {name: value}


def test_cache_types_are_of_a_run_only_where_they_are_not_the_usual_ones():
    assert _recorded(Settings(cache_type_k="f16")) == _recorded(Settings())
    chosen = Settings(cache_type_v="q8_0")
    assert _recorded(chosen) == _recorded(Settings()) | {"cache_type_v": "q8_0"}
    assert settings_of(Run("id", "sha", "task", _recorded(chosen), {})).cache_type_v == "q8_0"
    with pytest.raises(UsageError, match="--cache-type-k is one of f16, bf16"):
        Settings(cache_type_k="q9_9")


def test_a_run_gives_back_its_sampling():
    made = Settings(**PENALISED, repeat_last_n=32)
    sampler = settings_of(Run("id", "sha", "task", _recorded(made), {})).sampler()
    assert sampler == made.sampler()
    assert (sampler.min_p, sampler.temperature) == (0.05, 0.7)
    assert sampler.penalties == Penalties(repeat=1.1, presence=1.5, frequency=0.2, last_n=32)


@pytest.mark.parametrize("wrong", [{"min_p": 2}, {"repeat_penalty": 0}, {"repeat_last_n": 0}])
def test_sampling_out_of_range_is_refused(wrong):
    with pytest.raises(UsageError, match="Expected"):
        Settings(**wrong)
