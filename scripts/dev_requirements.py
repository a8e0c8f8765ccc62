"""Print the names of the dev dependency group of pyproject.toml, for pip versions that know no groups."""

import tomllib
from pathlib import Path

groups = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["dependency-groups"]
print("\n".join(groups["dev"]))
