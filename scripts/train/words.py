# ruff: noqa: SIM905 - lists of plain words read better as one string
"""Words of the stories: who, what, where. Plain data, so that the text varies and the sums stay the point."""

PEOPLE = tuple(
    (name, pronoun)
    for pronoun, names in (
        ("She", "Mia Anna Zoe Lena Ruth Nora Aisha Mei Olga Clara Jana Kate"),
        ("He", "Ben Omar Leo Paul Ivan Hugo Ravi Sam Tom Jack Finn Max"),
    )
    for name in names.split()
)
OBJECTS = tuple(
    "pens apples stamps marbles shells coins books cards stickers eggs candles cookies oranges buttons beads photos "
    "tickets toys flowers pears".split()
)
BOXES = tuple("boxes bags packs crates baskets jars trays cartons drawers shelves".split())
GOODS = tuple("a coat|a lamp|a bicycle|a present|a radio|some paint|a meal|a chair|a train ticket|new shoes".split("|"))
HELPERS = tuple("nephew neighbor cousin teacher grandmother friend brother sister coach".split())
PLACES = tuple("the market|the school fair|the library|the park|the harbor|a small shop|the museum|the farm".split("|"))
DAYS = tuple("Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split())
COLORS = tuple("red blue green yellow white black silver orange purple brown".split())
TIMES = {2: "twice", 3: "three times", 4: "four times", 5: "five times"}
PARTS = {2: "half", 3: "a third", 4: "a quarter", 5: "a fifth"}
ORDERS = (  # comparative, superlative of the upper and of the lower end
    ("taller", "tallest", "shorter", "shortest"),
    ("older", "oldest", "younger", "youngest"),
    ("faster", "fastest", "slower", "slowest"),
    ("stronger", "strongest", "weaker", "weakest"),
    ("richer", "richest", "poorer", "poorest"),
    ("louder", "loudest", "quieter", "quietest"),
)
