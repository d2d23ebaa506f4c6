"""Reviews of wines that nobody has drunk: "wine review : country : province : variety : description", from a probabilistic grammar.

Eight rules reach across the text: the province lies in the country, the variety grows in the province, the estate lies in the province; the
colour, the aromas and the food fit the variety; an aroma that is named later was smelt before; the variety is the same at the end.
"""

from __future__ import annotations

from collections import namedtuple
from functools import cache
from pathlib import Path

from generative.data import grammar, store
from generative.data.grammar import Options, Params, Pen, Phrases, split

__all__ = ["RULES", "Params", "agreement", "download", "preprocess", "review"]

RULES = ("province", "variety", "estate", "colour", "aromas", "recall", "again", "food")
ESTATES = 20  # a province

# What fits a group of varieties; phrases between semicolons, the likely ones first.
Style = namedtuple("Style", ["varieties", "colour", "body", "aromas", "texture", "structure", "food"])


STYLES = [
    Style(
        "sauvignon blanc; pinot grigio; albariño; grüner veltliner; verdejo; picpoul; assyrtiko; vermentino; muscadet; fiano; furmint",
        "white; pale white", "crisp; light bodied; lively; brisk; bone dry; racy; lean; zesty; fresh; nervy",
        "lime; lemon zest; green apple; grapefruit; gooseberry; cut grass; wet stone; sea spray; white peach; pear; kiwi; nettle; "
        "lemongrass; chalk; fennel; green almond; celery leaf; bitter herbs",
        "taut; bright; saline; stony; mouthwatering; clean; tense; snappy; focused; cool", "acidity; minerality; salinity; freshness",
        "oysters; grilled sole; goat cheese; steamed mussels; ceviche; green salad; sushi; fried squid; asparagus; clams",
    ),
    Style(
        "riesling; gewürztraminer; torrontés; muscat; viognier; kerner; malvasia; moschofilero; müller thurgau; silvaner; traminer",
        "white; golden white", "perfumed; floral; fragrant; exotic; delicate; lifted; heady; musky; pretty; off dry",
        "rose petal; lychee; apricot; orange blossom; jasmine; honeysuckle; ginger; tangerine; peach; petrol; honey; elderflower; mango; "
        "acacia; candied lemon; turkish delight; chamomile; bergamot",
        "silky; juicy; slippery; spicy; luscious; airy; tingling; oily; vibrant; sweet edged", "acidity; fragrance; sweetness; energy",
        "thai curry; pad thai; smoked trout; munster; onion tart; spring rolls; roast pork; crab cakes; samosas; blue cheese",
    ),
    Style(
        "chardonnay; marsanne; roussanne; sémillon; chenin blanc; white burgundy; white grenache; garganega; encruzado; ribolla gialla",
        "white; golden white", "rich; full bodied; broad; creamy; opulent; rounded; generous; toasty; ample; buttery",
        "butter; vanilla; baked apple; pineapple; hazelnut; brioche; toast; melon; beeswax; lemon curd; banana; fig; custard; roasted "
        "nuts; quince; nougat; popcorn; caramel",
        "smooth; plush; waxy; layered; glossy; thick; velvety; mellow; polished; dense", "acidity; oak; weight; length",
        "roast chicken; lobster; scallops; mushroom risotto; turbot; veal; crab bisque; gruyère; corn chowder; roast turkey",
    ),
    Style(
        "pinot noir; gamay; zweigelt; frappato; dolcetto; cinsault; schiava; mencía; trousseau; poulsard; st laurent; grignolino; país",
        "red; pale red; ruby", "light bodied; graceful; silky; delicate; bright; juicy; translucent; charming; fresh; easygoing",
        "cherry; raspberry; strawberry; cranberry; violet; rhubarb; forest floor; pomegranate; red currant; tea leaf; mushroom; beet "
        "root; orange peel; cinnamon; rosehip; bubblegum; blood orange; dried rose",
        "supple; tender; crunchy; fine; lacy; elegant; nimble; gentle; transparent; refined", "tannins; acidity; perfume; freshness",
        "duck breast; salmon; charcuterie; roast quail; beet salad; mushroom tart; grilled tuna; brie; pork loin; ratatouille",
    ),
    Style(
        "cabernet sauvignon; merlot; malbec; cabernet franc; carmenère; tannat; bordeaux blend; touriga nacional; saperavi; kékfrankos",
        "red; dark red; garnet", "firm; full bodied; structured; powerful; muscular; brooding; serious; concentrated; burly; stately",
        "blackcurrant; black cherry; plum; cedar; tobacco; graphite; green pepper; mint; leather; dark chocolate; espresso; cigar box; "
        "bay leaf; pencil shavings; blackberry; eucalyptus; iron; mulberry",
        "grippy; chewy; dense; stern; velvety; tight; deep; polished; austere; inky", "tannins; oak; structure; backbone",
        "rib eye; roast lamb; venison; short ribs; aged cheddar; beef stew; grilled sirloin; lamb shanks; braised beef; steak frites",
    ),
    Style(
        "syrah; shiraz; zinfandel; grenache; mourvèdre; primitivo; petite sirah; monastrell; rhône blend; pinotage; negroamaro; carignan;"
        " bonarda; durif",
        "red; dark red; purple", "ripe; spicy; sun baked; jammy; heady; meaty; brawny; lush; smoky; wild",
        "black pepper; blueberry; boysenberry; licorice; smoked meat; olive; bacon; jam; clove; fruitcake; lavender; raisin; cola; tar; "
        "rosemary; kirsch; barbecue smoke; allspice",
        "hearty; warm; peppery; thick; fleshy; bold; plump; savory; rustic; mouthfilling", "tannins; spice; alcohol; heat",
        "barbecued ribs; sausages; lamb tagine; chili; cassoulet; pulled pork; hamburgers; moussaka; pepper steak; wild boar",
    ),
    Style(
        "nebbiolo; sangiovese; tempranillo; aglianico; barbera; montepulciano; corvina; xinomavro; nero d ' avola; teroldego; sagrantino;"
        " lagrein; garnacha; bobal",
        "red; garnet; brick red", "earthy; savory; classic; austere; noble; sturdy; traditional; tart; rugged; mature",
        "sour cherry; dried herbs; tomato leaf; rose; truffle; balsamic; anise; worn leather; earth; dried fig; thyme; almond; tobacco "
        "leaf; menthol; prune; sandalwood; clay; coffee bean",
        "dusty; sinewy; gritty; long; stern; dry; tangy; linear; complex; woodsy", "tannins; acidity; grip; backbone",
        "ragù; osso buco; lasagna; truffle pasta; pecorino; pizza; braised rabbit; polenta; eggplant parmesan; lamb chops",
    ),
    Style(
        "champagne blend; prosecco; cava blend; lambrusco; glera; macabeo; sparkling blend; crémant; sekt; blanquette",
        "sparkling wine; sparkler", "foamy; festive; delicate; frothy; dry; yeasty; elegant; lively; cheerful; refreshing",
        "bread dough; lemon; apple; biscuit; pear drop; white flowers; ginger snap; raspberry sorbet; almond paste; citrus; cream; yeast;"
        " mandarin; red apple; grape candy; wild strawberry",
        "fizzy; creamy; prickly; airy; sharp; soft; effervescent; buoyant; tickling; weightless", "bubbles; acidity; mousse; effervescence",
        "caviar; potato chips; fried chicken; canapés; prosciutto; sponge cake; tempura; smoked salmon; popcorn shrimp; brunch",
    ),
    Style(
        "port; tokaji; sauternes; sherry; madeira; moscatel; ice wine; vin santo; marsala; banyuls; rutherglen muscat; recioto",
        "dessert wine; sweet wine", "luscious; decadent; unctuous; sweet; syrupy; sumptuous; hedonistic; warming; nutty; treacly",
        "toffee; marmalade; dried apricot; walnut; date; molasses; candied orange; saffron; burnt sugar; golden raisin; maple; cocoa; "
        "hazelnut cream; spiced pear; butterscotch; crystallized ginger",
        "sticky; endless; dense; velvety; mellow; lavish; viscous; balanced; glowing", "sweetness; acidity; spirit; concentration",
        "stilton; crème brûlée; pecan pie; foie gras; chocolate cake; gingerbread; apple strudel; roquefort; tiramisu; salted almonds",
    ),
]  # fmt: skip

# Provinces of each country, and the beginnings of the names of its estates.
COUNTRIES = {
    "us": ("california; washington; oregon; new york; virginia; texas; idaho; michigan", "stone ridge oak silver bear eagle fox hawk mill"),
    "france": (
        "bordeaux; burgundy; champagne; alsace; loire valley; rhône valley; provence; languedoc; jura",
        "mont clos val bel roc cham beau puy",
    ),
    "italy": (
        "tuscany; piedmont; veneto; sicily; campania; puglia; lombardy; abruzzo; friuli",
        "castel vigna rocca borgo fonte val sera terra",
    ),
    "spain": (
        "rioja; catalonia; galicia; castilla y león; andalucía; levante; navarra; aragón",
        "casa torre vina pena rio santa alta sierra",
    ),
    "portugal": ("douro; alentejo; vinho verde; dão; lisboa; bairrada; tejo", "quinta vale monte casal porta serra pedra"),
    "chile": ("maipo valley; colchagua valley; casablanca valley; maule valley; leyda valley", "alto cerro rio huerta lago costa peral"),
    "argentina": ("mendoza; salta; patagonia; san juan; la rioja argentina", "finca alta cerro pampa nieve luna valle"),
    "austria": ("wachau; kamptal; burgenland; steiermark; kremstal; carnuntum", "stein berg wein donau kirch hohen linden"),
    "germany": ("mosel; rheingau; pfalz; baden; nahe; rheinhessen; franken; saar", "rosen kloster hohen burg sonnen adler gold wald"),
    "australia": (
        "barossa valley; clare valley; margaret river; yarra valley; hunter valley; tasmania",
        "wirra kanga yalla gum wattle creek coola",
    ),
    "new zealand": ("marlborough; hawke ' s bay; central otago; martinborough; canterbury", "kauri wai mata tara rangi koru moana"),
    "south africa": ("stellenbosch; swartland; paarl; walker bay; franschhoek; elgin", "klein groot wolf meer vlei haas bok"),
    "greece": ("santorini; nemea; naoussa; crete; attica; mantinia", "agio kalli mavro petro helio meli nea"),
    "hungary": ("eger; villány; szekszárd; badacsony; somló; mátra", "arany szent kis nagy feher kert tisza"),
    "georgia": ("kakheti; imereti; kartli; racha", "alaz tela mtsv shat kvar kindz gurj"),
    "canada": ("okanagan valley; niagara peninsula; ontario; prince edward county", "maple cedar loon birch lake frost pine"),
}
TAILS = "ford ville more dale wood crest brook mark gate land view ton bury mere field stead low holm combe worth lea ham"


OPENINGS = Options(["this", "from the", "grown at", "a"])
SITES = (
    "slopes; terraces; hillsides; old vines; best plots; upper fields; steepest rows; coolest corner; river banks; home ranch; rocky "
    "ridges; north face"
)
SOILS = "limestone; granite; slate; clay; gravel; sand; volcanic rock; chalk; schist; loess; marl; red loam; flint; alluvial stones"
MAKERS = "made by; bottled by; produced by; crafted by; blended by; released by; grown by"
LEADS = "aromas of; scents of; notes of; a nose of; whiffs of; a bouquet of"
SHADES = "ripe; fresh; dark; bright; sweet; wild; intense; subtle; pure; faint; lush; clean; heady; vivid"
TOUCHES = "touch; hint; trace; whiff; suggestion; dash; breath; thread"
PALATES = "the palate is; in the mouth it is; it feels; it tastes; on the tongue it turns; the midpalate is"
DEGREES = "ample; firm; soft; good; moderate; plenty of; fine; bracing; gentle; well judged; abundant; modest"
FLAVORS = "flavors of; echoes of; more; a core of; memories of; lots of"
MONTHS = "six; eight; ten; twelve; fourteen; sixteen; eighteen; twenty; thirty; nine; seven; five"
VESSELS = "french oak; stainless steel; american oak; large casks; concrete; clay amphorae; old barrels; chestnut vats; neutral wood; glass"
ADDITIONS = (
    "a note of smoke; a layer of vanilla; some spice; depth; a creamy edge; roundness; a savory tone; polish; warmth; extra weight; a"
    " toasty side"
)
ENDINGS = "drink this; serve the; enjoy this; pour the; pair this; open this"
TIMES = "now; tonight; within a year; soon; young; on a warm day; at the table; from 2024; from 2025; from 2026; from 2027; from 2028; " + (
    "until 2029; until 2030; until 2032; until 2035; after long cellaring; on a winter night; slightly chilled"
)


def review(pen: Pen) -> None:
    """Writes or reads one review."""
    growing, estates, styles = _world()
    pen.say("wine review :")
    country = pen.pick(_list("; ".join(COUNTRIES)))
    pen.say(":")
    province = pen.pick(_list(COUNTRIES[country][0]), "province", _all("province"))
    pen.say(":")
    variety = pen.pick(growing[province], "variety", _all("variety"))
    pen.say(":")
    style = styles[variety]
    _opening(pen, style, estates[province])
    smelt = _aromas(pen, _list(style.aromas))
    _palate(pen, style, smelt)
    _ageing(pen, smelt)
    pen.pick(_list(ENDINGS))
    pen.pick(Options([variety]), "again", _all("variety"))
    pen.pick(_list(TIMES))
    pen.say("with")
    pen.pick(_list(style.food), "food", _all("food"))
    pen.say(".")


def _opening(pen: Pen, style: Style, estates: Options) -> None:
    opening = pen.pick(OPENINGS)
    if opening in ("this", "a"):
        _wine(pen, style)
        pen.pick(_list(MAKERS))
        pen.pick(estates, "estate", _all("estate"))
        pen.say("opens with" if opening == "this" else "shows")
        return
    if opening == "from the":
        pen.pick(_list(SITES))
        pen.say("of")
    pen.pick(estates, "estate", _all("estate"))
    if opening == "grown at":
        pen.say("on")
        pen.pick(_list(SOILS))
    pen.say("comes a" if opening == "from the" else ", this")
    _wine(pen, style)
    pen.say("with" if opening == "from the" else "gives")


def _wine(pen: Pen, style: Style) -> None:
    pen.pick(_list(style.body))
    pen.pick(_list(style.colour), "colour", _all("colour"))


def _aromas(pen: Pen, aromas: Options) -> list[str]:
    """Three or four aromas, none twice; returns them."""
    smelt: list[str] = []

    def smell() -> None:
        smelt.append(pen.pick(aromas.without(*smelt), "aromas", _all("aromas")))

    pen.pick(_list(LEADS))
    pen.pick(_list(SHADES))
    smell()
    pen.say(",")
    smell()
    pen.say("and")
    smell()
    if pen.pick(Options([".", "over a"])) == "over a":
        pen.pick(_list(TOUCHES))
        pen.say("of")
        smell()
        pen.say(".")
    return smelt


def _palate(pen: Pen, style: Style, smelt: list[str]) -> None:
    pen.pick(_list(PALATES))
    texture = pen.pick(_list(style.texture))
    pen.say("and")
    pen.pick(_list(style.texture).without(texture))
    pen.say("with")
    pen.pick(_list(DEGREES))
    pen.pick(_list(style.structure))
    pen.say("and")
    pen.pick(_list(FLAVORS))
    pen.pick(Options(smelt, alike=True), "recall", _all("aromas"))
    pen.say(".")


def _ageing(pen: Pen, smelt: list[str]) -> None:
    if pen.pick(Options(["it spent", "fermented in"])) == "it spent":
        pen.pick(_list(MONTHS))
        pen.say("months in")
        pen.pick(_list(VESSELS))
        pen.say("for")
        pen.pick(_list(ADDITIONS))
    else:
        pen.pick(_list(VESSELS))
        pen.say(", it keeps its")
        pen.pick(Options(smelt, alike=True), "recall", _all("aromas"))
    pen.say(".")


def download(params: Params, name: str, folder: Path) -> None:
    """Draws the three splits."""
    grammar.download(review, params, folder)


def preprocess(params: Params, name: str, raw: Path, folder: Path) -> store.Info:
    """The reviews as tokens, each with its log-probability."""
    return grammar.preprocess(params, name, raw, folder, params.source)


def agreement(text: str) -> dict[str, bool]:
    """Which of the rules hold in a text."""
    return grammar.follow(review, text, RULES)[0]


@cache
def _list(phrases: str) -> Options:
    return Options(split(phrases))


@cache
def _world() -> tuple[dict[str, Options], dict[str, Options], dict[str, Style]]:
    """(varieties by province, estates by province, style by variety): which grow where is a fixed walk through the list of all."""
    styles = {variety: style for style in STYLES for variety in split(style.varieties)}
    varieties, growing, estates, step = list(styles), {}, {}, 0
    for provinces, heads in COUNTRIES.values():
        places, names = split(provinces), [head + tail for tail in TAILS.split() for head in heads.split()]
        for number, province in enumerate(places):
            grown = (varieties[(step * 37 + k * (11 + 2 * number)) % len(varieties)] for k in range(5 + step % 6))
            growing[province], estates[province] = Options(grown), Options(names[number :: len(places)][:ESTATES])
            step += 1
    return growing, estates, styles


@cache
def _all(what: str) -> Phrases:
    """All that a rule narrows."""
    growing, estates, styles = _world()
    if what == "estate":
        return Phrases(" ".join(phrase) for options in estates.values() for phrase in options.phrases)
    whole = {"province": growing, "variety": styles}
    return Phrases(whole[what] if what in whole else (phrase for style in STYLES for phrase in split(getattr(style, what))))
