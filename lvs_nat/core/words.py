"""A line of a rule file becomes its words: no comment, no prefix, no doubtful character."""

from __future__ import annotations

import re
from collections.abc import Callable

# The longest rule that can be meant has some 300 characters.
RULE_MAX = 4096

_ODD = re.compile(r"[^\x21-\x7e \t\r]")
_COMMENT = re.compile(r"(?:^|[ \t\r])#.*", re.DOTALL)


def words_of(text: str, say: Callable[[str], None]) -> list[str]:
    """Return the words of *text*, none for an empty line; raise ValueError if it is no rule.

    say is told of a word that is passed over as ipvsadm does.
    """
    if "#" in text:
        text = _COMMENT.sub("", text)
    if len(text) > RULE_MAX:
        raise ValueError(f"a line of {len(text)} characters is no rule: write one rule on a line")
    odd = _ODD.search(text)
    if odd:
        character = odd[0]
        raise ValueError(
            f"the character {character!a} (U+{ord(character):04X}) has no place in a"
            " rule: write the line anew with plain blanks"
        )
    words = text.split()
    return _unprefixed(words, say) if "ipvsadm" in text else words


def _unprefixed(words: list[str], say: Callable[[str], None]) -> list[str]:
    if words[0].endswith("/ipvsadm"):
        words = words[1:]
    if "ipvsadm" in words[1:]:
        say("the word ipvsadm amid a rule is passed over, as ipvsadm does: take it away")
    words = [word for word in words if word != "ipvsadm"]
    if not words:
        raise ValueError("ipvsadm stands alone: write a rule after it, or take it away")
    return words
