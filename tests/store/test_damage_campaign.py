"""The campaign on databases (scripts/break databases) damages them as it says, whatever today's schema is."""

from __future__ import annotations

import random
import shutil

import pytest
from breaking import databases
from helpers.made import made


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "a.db"
    made(path, n_problems=4)
    return path


@pytest.mark.parametrize("way", dict.fromkeys(databases.WAYS), ids=lambda way: way.__name__)
def test_each_way_of_damage_changes_the_file(way, sound, tmp_path):
    changed = 0
    for seed in range(12):
        path = shutil.copy(sound, tmp_path / f"{seed}.db")
        way(path, random.Random(seed))
        changed += path.read_bytes() != sound.read_bytes()
    assert changed >= 6  # some draws find nothing to change


def test_all_commands_are_tried_on_a_damaged_database(tmp_path):
    """One case of the campaign, all of its commands, in this very process's child."""
    from breaking.runner import Worker, attack

    worker = Worker(tmp_path)
    try:
        done = attack(databases.cases(1, random.Random(3), tmp_path), worker)
    finally:
        worker.end()
    assert done.n_commands == len(databases.COMMANDS)
    assert done.faults == []
