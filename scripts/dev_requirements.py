"""Print the names of a dependency group of pyproject.toml, for pip versions that know no groups."""

import sys
import tomllib
from pathlib import Path

groups = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["dependency-groups"]
print("\n".join(groups[sys.argv[1]]))
