"""Recipes that nobody has cooked: "recipe for title | directions", from a probabilistic grammar.

Six rules reach across the text: each ingredient of the title is used, and cut as its kind is cut; the fat, the spices and what is served
beside it belong to the title's cuisine; the town lies where that is cooked; the vessel is one of the dish, and the same to the end; the
herb is the one of the title.
"""

from __future__ import annotations

from collections import namedtuple
from functools import cache
from itertools import zip_longest
from pathlib import Path

from generative.data import grammar, store
from generative.data.grammar import Options, Params, Pen, Phrases, split

__all__ = ["RULES", "Params", "agreement", "download", "preprocess", "recipe"]

RULES = ("used", "cut", "cuisine", "town", "vessel", "herb")
TOWNS = 160  # a cuisine

# What belongs together; phrases between semicolons, the likely ones first. Heads begin the names of towns.
Cuisine = namedtuple("Cuisine", ["fats", "spices", "sides", "heads"])
CUISINES = {
    "italian": Cuisine(
        "olive oil; butter", "fennel seed; chili flakes; nutmeg; black pepper; saffron; lemon zest",
        "polenta; focaccia; penne; gnocchi; risotto; white beans; crusty bread", "monte castel vigna rocca borgo fonte val sera",
    ),
    "french": Cuisine(
        "butter; duck fat; walnut oil", "white pepper; tarragon mustard; nutmeg; allspice; dijon mustard; juniper",
        "baguette; mashed potatoes; green lentils; noodles; roast potatoes", "beau clair mont pont roche bel saint haut",
    ),
    "spanish": Cuisine(
        "olive oil; lard", "smoked paprika; saffron; cumin seed; sherry vinegar; bay leaves; sweet paprika",
        "saffron rice; fried potatoes; chickpeas; country bread; white rice; garlic toast", "alta casa torre rio villa sierra vega puente",
    ),
    "greek": Cuisine(
        "olive oil; sheep butter", "dried oregano; cinnamon; allspice; lemon juice; fennel seed; mastic",
        "orzo; pita; roast potatoes; giant beans; rice; tzatziki; village bread", "kalli petro helio mavro meli agio nea pano",
    ),
    "turkish": Cuisine(
        "olive oil; butter; sunflower oil", "aleppo pepper; sumac; cumin; dried mint; pul biber; nigella",
        "bulgur; yogurt; flatbread; rice pilaf; lentils; freekeh; pickles", "kara ak yeni bey gul demir sari tash",
    ),
    "moroccan": Cuisine(
        "argan oil; olive oil; smen", "ras el hanout; cumin; cinnamon; ground ginger; turmeric; preserved lemon",
        "couscous; flatbread; chickpeas; barley; carrot salad; almond rice", "ait ben tan oum sidi tafra zag imil",
    ),
    "indian": Cuisine(
        "ghee; mustard oil; coconut oil", "turmeric; garam masala; cumin seed; mustard seed; cardamom; coriander seed",
        "basmati rice; naan; dal; chapati; raita; lime pickle; paratha", "chand ram kali jai sona deva pura naga",
    ),
    "thai": Cuisine(
        "coconut oil; peanut oil", "red curry paste; fish sauce; lemongrass; galangal; bird chilies; palm sugar",
        "jasmine rice; rice noodles; sticky rice; roti; cucumber relish; glass noodles", "chai bang nong lam khon surat pak doi",
    ),
    "chinese": Cuisine(
        "peanut oil; sesame oil", "five spice; soy sauce; sichuan pepper; star anise; oyster sauce; rice vinegar",
        "white rice; egg noodles; steamed buns; pancakes; fried rice; congee", "bei nan shan jing hua long yun tian",
    ),
    "mexican": Cuisine(
        "lard; corn oil; avocado oil", "chipotle; ancho chili; cumin; mexican oregano; achiote; epazote",
        "tortillas; black beans; red rice; guacamole; hominy; pinto beans; corn bread", "san santa tepe oaxa tlax cuer pueb mari",
    ),
    "hungarian": Cuisine(
        "lard; goose fat; butter", "sweet paprika; caraway; marjoram; hot paprika; celery salt; vinegar",
        "dumplings; egg noodles; boiled potatoes; rye bread; sour cream; spaetzle", "kis nagy szent arany kert feher tisza hegy",
    ),
    "swedish": Cuisine(
        "butter; rapeseed oil", "allspice; white pepper; juniper; mustard seed; cardamom; horseradish",
        "boiled potatoes; lingonberries; crisp bread; rye bread; pickled cucumber; barley", "norr sund lund berg vik holm aker salt",
    ),
}  # fmt: skip
TAILS = "lano dora mira beno ruva tello nika sora vale gano rini tuba lena moro pila dano kesh zora vino tara reno sula gora lima pado mena"

# How a kind is cut, and what is of that kind.
PLANTS = {
    "peel and dice the; dice the; grate the; slice the": "carrot; potato; parsnip; turnip; celery root; sweet potato; beet; rutabaga; yam",
    "chop the; slice the; mince the; thinly slice the": "onion; shallot; leek; garlic; red onion; scallion; fennel bulb; celery stalks",
    "shred the; wash the; tear up the; roughly chop the": "cabbage; kale; spinach; chard; savoy cabbage; mustard greens; endive; bok choy",
    "seed and chop the; quarter the; cube the; slice the": "tomato; eggplant; zucchini; red pepper; pumpkin; squash; green pepper",
    "trim the; halve the; blanch the; string the": "green beans; snow peas; asparagus; broccoli; brussels sprouts; cauliflower",
    "soak the; rinse the; drain the; boil the": "lentils; chickpeas; kidney beans; split peas; cannellini; borlotti; butter beans",
    "wipe the; slice the; halve the; brush the": "mushrooms; chanterelles; shiitake; porcini; oyster mushrooms; morels",
}
MAINS = {
    "cut into chunks the; trim and cube the; pat dry the; brown the": "lamb; beef; pork; veal; venison; goat; rabbit; ham; mutton; oxtail",
    "joint the; truss the; skin the; spatchcock the": "chicken; duck; turkey; quail; guinea fowl; goose; pheasant; partridge",
    "fillet the; scale the; skin the; gut the": "salmon; cod; trout; sea bass; mackerel; halibut; sardines; tuna; monkfish; snapper",
    "peel and devein the; scrub the; clean the; shell the": "shrimp; mussels; clams; squid; scallops; crab; lobster; prawns",
    "press and cube the; drain the; crumble the; slice the": "tofu; halloumi; paneer; tempeh; feta; ricotta; seitan",
}
HERBS = "parsley; mint; basil; coriander; dill; thyme; rosemary; sage; chives; tarragon; oregano; chervil; lovage; marjoram; bay; savory"

# The vessel of a dish, what is done in it, what is poured in, and how it is served.
Dish = namedtuple("Dish", ["vessels", "cooking", "liquids", "serving"])
DISHES = {
    "stew": Dish(
        "pot; casserole",
        "simmer; braise; cook gently; stew",
        "stock; red wine; water; cider; beer; white wine",
        "hot; in deep bowls; piping hot; reheated",
    ),
    "soup": Dish(
        "pot; kettle; saucepan",
        "simmer; boil; bubble; cook",
        "stock; water; broth; milk; cream; coconut milk",
        "hot; in cups; steaming; in warm bowls",
    ),
    "roast": Dish(
        "roasting pan; oven tray", "roast; bake; cook uncovered", "wine; stock; orange juice; vinegar; cider", "carved; hot; sliced; rested"
    ),
    "bake": Dish(
        "dish; gratin pan; casserole",
        "bake; cook covered; brown",
        "cream; milk; tomato sauce; stock; bechamel",
        "bubbling; warm; hot; in squares",
    ),
    "fry": Dish(
        "skillet; wok; frying pan",
        "stir fry; fry; saute; sear",
        "soy sauce; stock; lime juice; sherry; water",
        "at once; sizzling; hot; immediately",
    ),
    "salad": Dish(
        "bowl; salad bowl",
        "toss; marinate; dress; chill",
        "vinaigrette; lemon juice; yogurt; buttermilk; orange juice",
        "cold; at room temperature; chilled; on a platter",
    ),
    "pie": Dish("tin; pie dish", "bake; cook; crisp", "gravy; cream; stock; white sauce; ale", "warm; in wedges; hot; with a crisp top"),
}

MOODS = "quick; easy; slow cooked; rustic; spicy; creamy; classic; festive; simple; hearty; light; weeknight; smoky; tangy; summer; winter"
SEASONING = "salt; pepper; coarse salt; a little sugar; flour; sea salt; cracked pepper; a pinch of cloves; lemon; garlic powder"
AMOUNTS = (
    "2 tablespoons of; 1 tablespoon of; 3 tablespoons of; a little; a knob of; 4 tablespoons of; a splash of; half a cup of; plenty of"
)
BROWNING = "brown it for; sear it for; turn it for; fry it for; color it for; cook it for; toss it for; warm it for"
MINUTES = "5; 10; 20; 15; 30; 8; 12; 25; 40; 45; 6; 60; 35; 50; 4; 90; 7; 18; 75; 3"
MEASURES = "a teaspoon of; a pinch of; plenty of; half a teaspoon of; some; a spoonful of; a dash of; 2 teaspoons of; a dusting of"
CUPS = "1 cup of; 2 cups of; 3 cups of; half a cup of; a little; 4 cups of; a glass of; enough; a ladle of; 1 quart of"
MANNERS = "over low heat; covered; until tender; gently; without a lid; over medium heat; until done; stirring often; in peace; with care"
TEARING = "chop the; tear the; snip the; mince the; strip the; bruise the; shred the; pick the"
FINISHES = "scatter it over the; stir it into the; fold it into the; strew it on the; add it to the; sprinkle it over the"


def recipe(pen: Pen) -> None:
    """Writes or reads one recipe."""
    pen.say("recipe for")
    pen.pick(_list(MOODS))
    name = pen.pick(_list("; ".join(CUISINES)))
    cuisine, main = CUISINES[name], pen.pick(_kinds("mains")[0])
    dish = DISHES[pen.pick(_list("; ".join(DISHES)))]
    pen.say("with")
    plants = [pen.pick(_kinds("plants")[0])]
    pen.say(",")
    plants.append(pen.pick(_kinds("plants")[0].without(*plants)))
    pen.say("and")
    herb = pen.pick(_list(HERBS))
    pen.say("|")
    _cut(pen, plants[0], "plants")
    pen.say("and")
    _cut(pen, plants[1], "plants")
    pen.say(".")
    vessel = _cook(pen, main, cuisine, dish)
    _serve(pen, herb, vessel, dish)
    pen.pick(_list(cuisine.sides), "cuisine", _every("sides"))
    pen.say("as in")
    pen.pick(_towns(name), "town", _towns("all"))
    pen.say(".")


def _serve(pen: Pen, herb: str, vessel: str, dish: Dish) -> None:
    pen.pick(_list(TEARING))
    pen.pick(Options([herb]), "herb", _list(HERBS))
    pen.say("and")
    pen.pick(_list(FINISHES))
    pen.pick(Options([vessel]), "vessel", _every("vessels"))
    pen.say(". serve")
    pen.pick(_list(dish.serving))
    pen.say("with")


def _cook(pen: Pen, main: str, cuisine: Cuisine, dish: Dish) -> str:
    """All that happens on the fire; returns the vessel."""
    _cut(pen, main, "mains")
    pen.say("and season with")
    pen.pick(_list(SEASONING))
    pen.say(". heat")
    pen.pick(_list(AMOUNTS))
    pen.pick(_list(cuisine.fats), "cuisine", _every("fats"))
    pen.say("in a")
    vessel = pen.pick(_list(dish.vessels), "vessel", _every("vessels"))
    pen.say("and")
    pen.pick(_list(BROWNING))
    pen.pick(_list(MINUTES))
    pen.say("minutes . add")
    pen.pick(_list(MEASURES))
    spice = pen.pick(_list(cuisine.spices), "cuisine", _every("spices"))
    pen.say("and")
    pen.pick(_list(MEASURES))
    pen.pick(_list(cuisine.spices).without(spice), "cuisine", _every("spices"))
    pen.say(", pour in")
    pen.pick(_list(CUPS))
    pen.pick(_list(dish.liquids))
    pen.say("and")
    pen.pick(_list(dish.cooking))
    pen.pick(_list(MANNERS))
    pen.say("for")
    pen.pick(_list(MINUTES))
    pen.say("minutes .")
    return vessel


def _cut(pen: Pen, ingredient: str, group: str) -> None:
    things, cuts = _kinds(group)
    pen.pick(cuts[ingredient], "cut", _every("cuts"))
    pen.pick(Options([ingredient]), "used", things)


def download(params: Params, name: str, folder: Path) -> None:
    """Draws the three splits."""
    grammar.download(recipe, params, folder)


def preprocess(params: Params, name: str, raw: Path, folder: Path) -> store.Info:
    """The recipes as tokens, each with its log-probability."""
    return grammar.preprocess(params, name, raw, folder, params.source)


def agreement(text: str) -> dict[str, bool]:
    """Which of the rules hold in a text."""
    return grammar.follow(recipe, text, RULES)[0]


@cache
def _list(phrases: str) -> Options:
    return Options(split(phrases))


@cache
def _kinds(group: str) -> tuple[Options, dict[str, Options]]:
    """(all ingredients of a group, the first of each kind before the second of any; how each is cut)."""
    kinds = {cut: split(members) for cut, members in {"mains": MAINS, "plants": PLANTS}[group].items()}
    mixed = [thing for row in zip_longest(*kinds.values()) for thing in row if thing]
    return Options(mixed), {thing: _list(cut) for cut, members in kinds.items() for thing in members}


@cache
def _towns(cuisine: str) -> Options:
    names = {name: [head + tail for tail in TAILS.split() for head in CUISINES[name].heads.split()][:TOWNS] for name in CUISINES}
    return Options(names[cuisine] if cuisine in names else (town for towns in names.values() for town in towns))


@cache
def _every(what: str) -> Phrases:
    """All that a rule narrows."""
    if what == "cuts":
        return Phrases(phrase for cuts in (*PLANTS, *MAINS) for phrase in split(cuts))
    groups = DISHES.values() if what == "vessels" else CUISINES.values()
    return Phrases(phrase for group in groups for phrase in split(getattr(group, what)))
