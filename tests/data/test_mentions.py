"""Finding names: longest match, exact offsets, case, priors."""

import torch

from kemm.data.mentions import AliasMatcher
from kemm.kg import Entity, Graph

ENTITIES = [
    Entity("country:turkiye", "Türkiye", "country", ("Turkey", "Turkish")),
    Entity("country:congo", "Republic of the Congo", "country", ("Congo", "the Congo")),
    Entity("country:dr-congo", "DR Congo", "country", ("Congo",)),
    Entity("country:guinea", "Guinea", "country"),
    Entity("country:guinea-bissau", "Guinea-Bissau", "country"),
    Entity("currency:us-dollar", "United States dollar", "currency", ("dollar", "dollars")),
    Entity("city:the-hague", "The Hague", "city"),
    Entity("country:gambia", "Gambia", "country", ("The Gambia",)),
    Entity("city:port-au-prince", "Port-au-Prince", "city"),
]
GRAPH = Graph(ENTITIES, [], torch.empty(0, 3, dtype=torch.int64))


def found(text: str, matcher: AliasMatcher | None = None) -> list[tuple[str, list[str]]]:
    mentions = (matcher or AliasMatcher(GRAPH)).find(text)
    for mention in mentions:
        assert text[mention.start : mention.end] == mention.surface
        assert abs(sum(prior for _, prior in mention.candidates) - 1) < 1e-9
    return [(mention.surface, [entity for entity, _ in mention.candidates]) for mention in mentions]


def test_the_longest_name_wins_and_offsets_are_those_of_the_text() -> None:
    assert found("From Guinea-Bissau to Guinea.") == [("Guinea-Bissau", ["country:guinea-bissau"]), ("Guinea", ["country:guinea"])]
    assert found("Türkiye, «Türkiye»") == [("Türkiye", ["country:turkiye"])] * 2
    assert AliasMatcher(GRAPH).find("à Port-au-Prince")[0][:2] == (2, 16)


def test_case_tells_names_from_words() -> None:
    assert found("A turkey is no Turkey; TURKEY is shouted.") == [("Turkey", ["country:turkiye"])]
    assert found("Dollars and dollars; DOLLARS.") == [("Dollars", ["currency:us-dollar"]), ("dollars", ["currency:us-dollar"])]


def test_names_are_whole_words() -> None:
    assert found("Guineas, Turkeytown, subdollar, 5dollars") == []
    assert found("Guinea's (Turkey) Congo-Guinea 5 dollars") == [
        ("Guinea", ["country:guinea"]),
        ("Turkey", ["country:turkiye"]),
        ("Congo", ["country:congo", "country:dr-congo"]),
        ("Guinea", ["country:guinea"]),
        ("dollars", ["currency:us-dollar"]),
    ]


def test_white_space_may_be_any() -> None:
    text = "the Republic  of\nthe Congo"
    assert found(text) == [("Republic  of\nthe Congo", ["country:congo"])]


def test_an_article_does_not_hide_another_meaning() -> None:
    both = ["country:congo", "country:dr-congo"]
    assert found("the Congo, The Gambia, The Hague") == [("Congo", both), ("Gambia", ["country:gambia"]), ("The Hague", ["city:the-hague"])]


def test_words_of_questions_are_no_names() -> None:
    assert found("Name the flag of this country, please.") == []


def test_priors_follow_counts_with_a_floor() -> None:
    matcher = AliasMatcher(GRAPH, {("Congo", 2): 7, ("Dollars", 5): 3}, floor=0.5)
    assert matcher.candidates("Congo") == [("country:dr-congo", 7.5 / 8), ("country:congo", 0.5 / 8)]
    assert matcher.candidates("Dollars") == matcher.candidates("dollars") == [("currency:us-dollar", 1.0)]
    assert matcher.candidates("Paris") == []
    assert AliasMatcher(GRAPH).candidates("Congo") == [("country:congo", 0.5), ("country:dr-congo", 0.5)]


def test_a_texts_own_counts_can_be_left_out() -> None:
    matcher = AliasMatcher(GRAPH, {("Congo", 2): 7, ("Dollars", 5): 3}, floor=0.5)
    assert matcher.candidates("Congo", {("Congo", 2): 7, ("Niger", 1): 2}) == [("country:congo", 0.5), ("country:dr-congo", 0.5)]
    assert matcher.candidates("dollars", {("Dollars", 5): 3}) == [("currency:us-dollar", 1.0)]


def test_against_a_slow_search() -> None:
    """Every start, every form, the longest first."""
    forms = sorted({form for entity in ENTITIES for form in entity.surfaces if not form.startswith("the ")}, key=len, reverse=True)
    text = "In Congo and Guinea-Bissau (not Guinea), Turkish dollars reach The Hague; Republic of the Congo, DR Congo."
    expected, place = [], 0
    while place < len(text):
        for form in forms:
            end = place + len(form)
            inside = text[place:end] == form and not (text[end : end + 1].isalnum() or text[place - 1 : place].isalnum())
            if inside:
                expected.append((place, end))
                place = end
                break
        else:
            place += 1
    assert [mention[:2] for mention in AliasMatcher(GRAPH).find(text)] == expected
