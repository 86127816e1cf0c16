"""What simulated people and places are called: short lists, so that no library of fake names is needed."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Region:
    """Where an account sits. Accounts of a region share its zones, locale and names."""

    name: str
    share: float
    currency: str
    zones: tuple[str, ...]
    locale: str
    given: tuple[str, ...]
    family: tuple[str, ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


REGIONS = (
    Region(
        name="na", share=0.38, currency="USD", locale="en-US",
        zones=("America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles", "America/Toronto"),
        given=_words("Ada Grace James Maria Ethan Olivia Noah Chloe Marcus Hannah Diego Ruth"),
        family=_words("Baker Carter Diaz Evans Foster Garcia Hughes Johnson Kim Lopez Miller O'Neill"),
    ),
    Region(
        name="uk", share=0.14, currency="GBP", locale="en-GB", zones=("Europe/London", "Europe/Dublin"),
        given=_words("Alice Callum Niamh Oliver Priya Rhys Sinéad Thomas Zoë Imogen"),
        family=_words("Ahmed Clarke D'Arcy Fraser Hughes Murphy Patel Smith Taylor Walsh"),
    ),
    Region(
        name="dach", share=0.16, currency="EUR", locale="de", zones=("Europe/Berlin", "Europe/Vienna", "Europe/Zurich"),
        given=_words("Anna Björn Claudia Felix Jörg Käthe Lukas Miriam Sven Ute"),
        family=_words("Bauer Fischer Groß Hoffmann Jäger Köhler Meyer Müller Schäfer Wagner"),
    ),
    Region(
        name="south_eu", share=0.12, currency="EUR", locale="fr",
        zones=("Europe/Paris", "Europe/Madrid", "Europe/Rome", "Europe/Lisbon"),
        given=_words("Amélie Benoît Carmen François Giulia Inês José Léa Núria Paolo"),
        family=_words("Bernard Costa Fernández Giménez Lefèvre Moreau Nuñez Petit Rossi Silva"),
    ),
    Region(
        name="apac", share=0.14, currency="USD", locale="en",
        zones=("Asia/Tokyo", "Asia/Singapore", "Asia/Kolkata", "Australia/Sydney", "Pacific/Auckland"),
        given=_words("Aiko Arjun Daichi Hana Lakshmi Liam Mei Priya Ravi Yuki"),
        family=_words("Chen Gupta Iyer Nakamura Nguyen Sato Sharma Tan Tanaka Wilson"),
    ),
    Region(
        name="latam", share=0.06, currency="USD", locale="pt-BR",
        zones=("America/Sao_Paulo", "America/Mexico_City", "America/Bogota"),
        given=_words("Beatriz Carlos Fernanda Gabriel João Lucía Mateo Thaís"),
        family=_words("Almeida Castro Gonçalves Ibáñez Mendes Oliveira Ramírez Souza"),
    ),
)  # fmt: skip

_SPELLED = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "ø": "o", "ł": "l"})


def address(given: str, family: str, number: int, domain: str) -> str:
    """Return an e-mail address that nobody can have: `.invalid` never resolves."""
    return f"{_ascii(given)}.{_ascii(family)}.{number}@{domain}.example.invalid"


def _ascii(name: str) -> str:
    spelled = unicodedata.normalize("NFKD", name.lower().translate(_SPELLED))
    return "".join(letter for letter in spelled if letter.isascii() and letter.isalnum())
