#!/usr/bin/env python3
"""Writes src/tokenizer/unicode_tables.inc: what Unicode is to the `tokenizers` package, asked of the package itself.

Its pattern engine, its normaliser and its Digits step each carry their own version of Unicode, and none is the version
of the PCRE2 and utf8proc this project links. The tables hold the classes it sees and where the libraries differ.

Usage: make_unicode_tables.py > src/tokenizer/unicode_tables.inc   (PyPI: tokenizers; libutf8proc.so.2 by ctypes;
Python's unicodedata must be Unicode 14.0, the version of PCRE2 10.40 to 10.42)
"""
import ctypes
import sys
import unicodedata

from tokenizers import Regex, normalizers, pre_tokenizers

CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
CATEGORIES = ["L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "Mn", "Mc", "Me", "N", "Nd", "Nl", "No",
              "P", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "S", "Sm", "Sc", "Sk", "So"]


def matching(splitter):
    """The code points that a Removed splitter takes away, all of Unicode in runs of 4096."""
    found = []
    for begin in range(0, len(CODE_POINTS), 4096):
        run = CODE_POINTS[begin:begin + 4096]
        kept = set()
        for piece, _ in splitter.pre_tokenize_str("".join(map(chr, run))):
            kept.update(piece)
        found += [c for c in run if chr(c) not in kept]
    return found


def by_pattern(pattern):
    return matching(pre_tokenizers.Split(Regex(pattern), "removed"))


def ranges(code_points):
    result = []
    for c in sorted(code_points):
        if result and result[-1][1] == c - 1:
            result[-1][1] = c
        else:
            result.append([c, c])
    return result


def emit(name, comment, code_points):
    rows = ["{0x%x, 0x%x}" % tuple(r) for r in ranges(code_points)]
    print(f"// {comment}")
    print(f"constexpr Range {name}[] = {{")
    for i in range(0, len(rows), 6):
        print("    " + ", ".join(rows[i:i + 6]) + ",")
    print("};")


def utf8proc_map(library, text, options):
    data = text.encode()
    out = ctypes.POINTER(ctypes.c_char)()
    n = library.utf8proc_map(data, len(data), ctypes.byref(out), options)
    assert n >= 0
    result = ctypes.string_at(out, n).decode()
    ctypes.CDLL(None).free(out)
    return result


def main():
    assert unicodedata.unidata_version == "14.0.0", unicodedata.unidata_version
    print("// Written by tools/make_unicode_tables.py; do not edit.")
    emit("kLetters", r"\p{L} of the pattern engine.", by_pattern(r"\p{L}"))
    emit("kNumbers", r"\p{N} of the pattern engine.", by_pattern(r"\p{N}"))
    digits = pre_tokenizers.Digits(individual_digits=True)
    numeric = [c for c in CODE_POINTS if len(digits.pre_tokenize_str("a" + chr(c) + "a")) > 1]
    emit("kNumeric", "What the Digits step takes for a digit.", numeric)
    names = []
    for category in CATEGORIES:
        newer = [c for c in by_pattern(r"\p{%s}" % category)
                 if not unicodedata.category(chr(c)).startswith(category)]
        if newer:
            names.append(category)
            emit("kNewer" + category, f"\\p{{{category}}} of the pattern engine beyond Unicode 14.0.", newer)
    print("constexpr NewerCategory kNewerCategories[] = {")
    for category in names:
        print(f'    {{"{category}", kNewer{category}}},')
    print("};")

    library = ctypes.CDLL("libutf8proc.so.2")
    library.utf8proc_map.restype = ctypes.c_ssize_t
    library.utf8proc_map.argtypes = [ctypes.c_char_p, ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_int]
    stable, compat, compose, decompose = 2, 4, 8, 16
    forms = [(normalizers.NFC(), stable | compose), (normalizers.NFD(), stable | decompose),
             (normalizers.NFKC(), stable | compose | compat), (normalizers.NFKD(), stable | decompose | compat)]
    inert = {0x11930, 0x11935}  # the parts of U+11938, which the normaliser does not compose
    for c in CODE_POINTS[1:]:
        probes = [chr(c), "a\u0302" + chr(c) + "\u0323\u0301"]
        if any(form.normalize_str(p) != utf8proc_map(library, p, o) for p in probes for form, o in forms):
            assert all(form.normalize_str(chr(c)) == chr(c) for form, _ in forms), hex(c)
            inert.add(c)
    emit("kInert", "Characters newer than the normaliser: no combining class, no composition, to it.", inert)

    library.utf8proc_tolower.restype = ctypes.c_int32
    library.utf8proc_tolower.argtypes = [ctypes.c_int32]
    lower = normalizers.Lowercase()
    print("// Lower-case letters that utf8proc does not know; U+0130, which has two, is not in the list.")
    print("constexpr Range kLower[] = {")
    for c in CODE_POINTS:
        got = lower.normalize_str(chr(c))
        if c != 0x130 and ord(got) != library.utf8proc_tolower(c):
            print("    {0x%x, 0x%x}," % (c, ord(got)))
    print("};")


if __name__ == "__main__":
    sys.exit(main())
