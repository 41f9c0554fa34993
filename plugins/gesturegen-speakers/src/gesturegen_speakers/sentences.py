"""A small grammar that makes endless talk-like sentences in four languages; all text is ours."""

from __future__ import annotations

import re

import numpy as np

from .person_spec import pick

Grammar = dict[str, tuple[str, ...]]

_ENGLISH: Grammar = {
    "start": (
        "{open} {claim}.",
        "{claim}, and {claim}.",
        "{open} {claim}, because {claim}.",
        "If {claim}, then {claim}.",
        "{question}?",
        "{claim}. {reaction}!",
        "Let me show you {thing}: it is {size}, {quality} and {quality}.",
        "On the one hand {claim}, on the other hand {claim}.",
        "First {act}, then {act}, and finally {act}.",
        "{number} people told me that {claim}.",
        "You take {thing}, you {verb} it, and {claim}.",
        "{reaction}! {open} {claim}.",
        "It was {size}, really {size}, and {claim}.",
        "Not {thing}, but {thing}.",
    ),
    "open": (
        *("Look,", "You know,", "Well,", "Honestly,", "To be clear,", "In my view,", "This morning"),
        *("The point is that", "What matters is that", "I think", "We all know that", "Imagine that", "Believe me,"),
    ),
    "claim": (
        "{who} {verb} {thing}",
        "{thing} can be {quality}",
        "{who} never {verb} {thing} again",
        "{thing} goes {direction}",
        "{who} found {thing} {place}",
        "{thing} is {size} and {thing} is {quality}",
        "nothing {place} looks {quality}",
        "we {verb} {thing} {direction}",
    ),
    "question": (
        "Why would {who} {verb} {thing}",
        "Have you ever seen {thing} {place}",
        "What if {thing} was {size}",
        "How many of you {verb} {thing}",
    ),
    "act": ("we {verb} {thing}", "you look {direction}", "they open {thing}", "I explain {thing}"),
    "reaction": ("Wonderful", "No way", "That is it", "Exactly", "What a surprise", "Absolutely not"),
    "who": ("the teacher", "my neighbour", "our team", "a friend of mine", "the captain", "nobody", "every child"),
    "verb": ("carry", "measure", "paint", "discover", "forget", "repair", "compare", "celebrate", "push", "draw"),
    "thing": (
        *("the little house", "a new idea", "this old machine", "the river", "an honest answer", "the garden"),
        *(
            "a round table",
            "the first chapter",
            "a silver box",
            "the whole market",
            "one simple question",
            "the bridge",
        ),
    ),
    "quality": ("bright", "difficult", "surprisingly quiet", "heavy", "beautiful", "wrong", "useful", "warm"),
    "size": ("huge", "tiny", "this wide", "as tall as a tree", "quite small", "enormous"),
    "direction": ("to the left", "upwards", "far away", "around the corner", "right in front of us", "back home"),
    "place": ("in the kitchen", "over there", "under the stairs", "at the station", "between the hills"),
    "number": ("Three", "Seven", "About forty", "Two hundred", "Almost all"),
}
_SPANISH: Grammar = {
    "start": ("{open} {claim}.", "{claim}, y {claim}.", "¿Por qué {claim}?", "{open} {claim}, porque {claim}."),
    "open": ("Mira,", "La verdad es que", "Creo que", "Como sabéis,", "Lo importante es que"),
    "claim": ("{who} encontró {thing}", "{thing} es {quality}", "{who} no olvidó {thing}", "{thing} está muy lejos"),
    "who": ("mi vecina", "el maestro", "nuestro equipo", "nadie", "una amiga"),
    "thing": ("la casa pequeña", "el río", "una idea nueva", "el mercado", "la primera pregunta", "el puente"),
    "quality": ("enorme", "difícil", "hermoso", "muy útil", "tranquilo"),
}
_GERMAN: Grammar = {
    "start": ("{open} {claim}.", "{claim}, und {claim}.", "Wer weiß, {claim}?", "{open} {claim}, denn {claim}."),
    "open": ("Wissen Sie,", "Ganz ehrlich:", "Stellen Sie sich vor:", "Eines ist klar:", "Heute Morgen dachte ich:"),
    "claim": ("{who} findet {thing}", "{thing} ist {quality}", "{who} vergisst {thing} nie", "dort liegt {thing}"),
    "who": ("meine Nachbarin", "der Lehrer", "unsere Gruppe", "niemand", "jedes Kind"),
    "thing": ("das kleine Haus", "die neue Idee", "das ganze Dorf", "die erste Frage", "die alte Brücke"),
    "quality": ("riesig", "schwierig", "wunderschön", "sehr nützlich", "erstaunlich leise"),
}
_FRENCH: Grammar = {
    "start": ("{open} {claim}.", "{claim}, et {claim}.", "Pourquoi {claim} ?", "{open} {claim}, parce que {claim}."),
    "open": ("Vous savez,", "Regardez,", "À mon avis,", "Je crois que", "Ce qui compte, c'est que"),
    "claim": ("{who} trouve {thing}", "{thing} est {quality}", "{who} oublie {thing}", "{thing} va très loin"),
    "who": ("ma voisine", "le professeur", "notre équipe", "personne", "chaque enfant"),
    "thing": ("la petite maison", "la rivière", "une idée nouvelle", "le marché", "la première question"),
    "quality": ("immense", "difficile", "magnifique", "très utile", "tranquille"),
}
GRAMMARS = {"en": _ENGLISH, "es": _SPANISH, "de": _GERMAN, "fr": _FRENCH}
_SLOT = re.compile(r"\{(\w+)\}")


def sentence(rng: np.random.Generator, language: str = "en") -> str:
    """One random sentence in 'en', 'es', 'de' or 'fr'; the same generator state gives the same sentence."""
    grammar = GRAMMARS[language]
    text = "{start}"
    while match := _SLOT.search(text):
        text = text[: match.start()] + pick(rng, grammar[match.group(1)]) + text[match.end() :]
    return text[0].upper() + text[1:]
