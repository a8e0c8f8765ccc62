"""A campaign against localent: damaged files, hostile templates and databases, kills at random moments.

Each part makes seeded cases; a case is some files and the commands that meet them. A command may refuse with a sentence
or do its work. It may not end the interpreter, hang, show a traceback, or send control characters to a terminal.
"""
