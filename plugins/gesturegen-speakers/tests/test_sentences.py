import re

import numpy as np
import pytest

from gesturegen_speakers.sentences import GRAMMARS, sentence


@pytest.mark.parametrize("language", sorted(GRAMMARS))
def test_same_state_gives_the_same_sentences(language: str) -> None:
    first, second = np.random.default_rng(5), np.random.default_rng(5)
    assert [sentence(first, language) for _ in range(20)] == [sentence(second, language) for _ in range(20)]


@pytest.mark.parametrize("language", sorted(GRAMMARS))
def test_sentences_are_complete_and_varied(language: str, rng: np.random.Generator) -> None:
    texts = [sentence(rng, language) for _ in range(100)]
    assert not any("{" in text or "}" in text for text in texts)
    assert all(text[0].isupper() or text[0] == "¿" for text in texts)
    assert all(text[-1] in ".?!" for text in texts)
    assert len(set(texts)) > 60


@pytest.mark.parametrize("language", sorted(GRAMMARS))
def test_every_slot_of_a_grammar_is_defined_and_used(language: str) -> None:
    grammar = GRAMMARS[language]
    used = {slot for rules in grammar.values() for rule in rules for slot in re.findall(r"\{(\w+)\}", rule)}
    assert used == set(grammar) - {"start"}
