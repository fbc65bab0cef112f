#!/usr/bin/env python3
"""Token ids against an implementation of its own: CLIP's byte-pair encoding in plain Python.

    tests/bench/check_tokens.py VOCABULARY STORE.h5 ...     every sentence a store keeps
    tests/bench/check_tokens.py VOCABULARY TOKENS.json ...  [{"text": ..., "ids": [...]}], padded with zeros

Exit status 1 where anything differs.
"""
import functools
import gzip
import html
import json
import sys
import unicodedata

CONTEXT = 77
SPECIAL = ("<|startoftext|>", "<|endoftext|>")
ENDINGS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")


def byte_characters():
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in plain]
    return {b: chr(b) for b in plain} | {b: chr(256 + k) for k, b in enumerate(others)}, plain + others


class Tokenizer:
    def __init__(self, path):
        with gzip.open(path, "rt", encoding="utf-8") as f:
            lines = f.read().split("\n")
        merges = [tuple(line.split()) for line in lines[1:48895]]
        self.characters, order = byte_characters()
        words = [self.characters[b] for b in order]
        words += [w + "</w>" for w in words] + ["".join(m) for m in merges] + list(SPECIAL)
        self.ids = {w: i for i, w in enumerate(words)}
        self.rank = {m: i for i, m in enumerate(merges)}

    @staticmethod
    def pieces(text):
        at = 0
        while at < len(text):
            rest = text[at:]
            special = next((s for s in SPECIAL if rest.startswith(s)), None)
            ending = next((e for e in ENDINGS if rest.startswith(e)), None)
            kind = unicodedata.category(text[at])[0]
            end = at + 1
            if special or ending:
                end = at + len(special or ending)
            elif text[at].isspace():
                at = end
                continue
            elif kind == "L":
                while end < len(text) and unicodedata.category(text[end])[0] == "L":
                    end += 1
            elif kind != "N":
                while end < len(text) and not text[end].isspace() and unicodedata.category(text[end])[0] not in "LN":
                    end += 1
            yield text[at:end]
            at = end

    @functools.lru_cache(1 << 16)
    def encode_piece(self, piece):
        if piece in SPECIAL:
            return (self.ids[piece],)
        word = [self.characters[b] for b in piece.encode()]
        word[-1] += "</w>"
        while len(word) > 1:
            best = min(zip(word, word[1:]), key=lambda pair: self.rank.get(pair, len(self.rank)))
            if best not in self.rank:
                break
            merged, i = [], 0
            while i < len(word):
                if tuple(word[i:i + 2]) == best:
                    merged.append(word[i] + word[i + 1])
                    i += 2
                else:
                    merged.append(word[i])
                    i += 1
            word = merged
        return tuple(self.ids[w] for w in word)

    def __call__(self, text):
        text = " ".join(html.unescape(html.unescape(text)).split()).lower()
        ids = [49406, *(i for piece in self.pieces(text) for i in self.encode_piece(piece)), 49407]
        return ids if len(ids) <= CONTEXT else ids[:CONTEXT - 1] + [49407]


def sentences(path):
    """(text, ids) of a file."""
    if path.endswith(".json"):
        with open(path) as f:
            for entry in json.load(f):
                ids = entry["ids"]
                yield entry["text"], ids[:ids.index(49407) + 1]
        return
    import h5py
    with h5py.File(path) as f:
        for group in ("captions", "regions"):
            offsets, tokens = f[group]["offsets"][:].astype(int), f[group]["tokens"][:]
            for i, text in enumerate(f[group]["text"][:]):
                ids = tokens[offsets[i]:offsets[i + 1]].tolist()
                if ids or text:
                    yield text.decode(), ids


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    tokenizer, count, wrong = Tokenizer(sys.argv[1]), 0, 0
    for path in sys.argv[2:]:
        for text, ids in sentences(path):
            count += 1
            want = tokenizer(text)
            if ids != want:
                wrong += 1
                print(f"{path}: {text!r}: {ids}, want {want}")
    print(f"{count} sentences, {wrong} differ")
    sys.exit(1 if wrong or count == 0 else 0)


if __name__ == "__main__":
    main()
