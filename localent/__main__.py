"""python -m localent"""

from localent.cli import main

main(prog_name="localent")
