"""Part `tokenizer`: ids of hard text and texts of hard ids, from HF `tokenizers` reading tokenizer.json as it is.

`processor_learned` and `processor_string` are SmolLM2's vocabulary with the added tokens of the two families of
released processors: one id per position tag, and position tags as ordinary text. Their files are inputs here, not
outputs.
"""
import hashlib
import json
import random
import unicodedata

import numpy as np
from tokenizers import Tokenizer

import common

SCHEMES = ("learned", "string")
BLOCK = 0x1000
PATTERN = "a{c}b 1{c} {c}{c}'s{c}\n"

SENTENCES = [
    "The quick brown fox jumps over the lazy dog, doesn't it? I'd say we've seen it; they'll agree, I'm sure, you're not.",
    "DON'T SHOUT, I'LL HEAR YOU'RE HERE, SHE'D'VE 'TIS rock 'n' roll 's 't 're 've 'm 'll 'd 'S 'LL don’t I’ll",
    "Größe, Straße, Übermut: Fußgängerübergänge kosten 1.234,56 € (inkl. 19 % MwSt.).",
    "Où est l'élève ? Ça va, merci ; «\u202fbien sûr\u202f», dit-il… n°\u00a05.",
    "¿Qué pasó, señor? ¡Mañana será otro día! El pingüino Wenceslao hizo kilómetros bajo exhaustiva lluvia.",
    "Zażółć gęślą jaźń. Příliš žluťoučký kůň úpěl ďábelské ódy. Árvíztűrő tükörfúrógép. İstanbul'da ığdır.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю. Ґанок, їжак, ў, Ђорђе, Ѣ.",
    "Ξεσκεπάζω τὴν ψυχοφθόρα βδελυγμία· ᾧ ᾷ ΐ ϗ.", "Բարեւ աշխարհ։ გამარჯობა მსოფლიო ᲛᲗᲐᲕᲠᲣᲚᲘ",
    "שלום עולם! כתב־יד, שָׁלוֹם \u200fRTL\u200e LTR 12:30", "مرحبا بالعالم؟ ١٢٣٤٥ ﷺ لَا إِلٰهَ ـــ کتاب‌ها",
    "ܫܠܡܐ ܥܠܡܐ ހެޔޮ ޚަބަރު", "नमस्ते दुनिया! क्ष त्र ज्ञ १२३ हिन्दी में",
    "বাংলা ভাষা ১২৩ ৷ ௧௨௩ தமிழ் తెలుగు ಕನ್ನಡ മലയാളം සිංහල",
    "ภาษาไทยไม่มีการเว้นวรรคระหว่างคำ ๑๒๓ ລາວ ພາສາ ខ្មែរ ១២៣ မြန်မာ ၁၂၃ བོད་སྐད་ ༡༢༣",
    "我能吞下玻璃而不伤身体。2024年12月31日，星期二！「你好」、『世界』…… 繁體中文 㐀㐁 𠀀𠀁 𪛖 〇",
    "私はガラスを食べられます。それは私を傷つけません。カタカナ ﾊﾝｶｸ がぎぐ ゛゜ ㍿ ㈱ ①②③ Ⅷ ⅷ 〆々",
    "나는 유리를 먹을 수 있어요. 그래도 아프지 않아요 ㄱㄴㄷ 각 \u1112\u1161\u11ab", "Xin chào thế giới, tiếng Việt có dấu: ệ ữ ợ ằ ặ",
    "ሰላም ዓለም ፩፪፫ ፼ ᎣᏏᏲ ᏣᎳᎩ ᐃᓄᒃᑎᑐᑦ ᚠᛇᚻ ᛫ ᚛ᚐᚋ᚜ ⴰⵣⵓⵍ ᠮᠣᠩᠭᠣᠯ ꦱꦸꦫ 𐌸𐌹𐌿𐌳𐌰 𐍈 𓀀𓂀 𒀀𒌋 𝔘𝔫𝔦 𝟘𝟙𝟚 𝒳",
    "e\u0301 n\u0303 a\u0308\u0304 Z\u0351\u036b\u0343\u036aA\u0321\u034aL\u0357G\u0322O\u0300 \u0301alone o\u20d7",
    "👋🏽 👨‍👩‍👧‍👦 🏳️‍🌈 🏴‍☠️ 🇩🇪🇫🇷🇯🇵 🏴󠁧󠁢󠁳󠁣󠁴󠁿 1️⃣ #️⃣ ❤️‍🔥 🧑🏿‍🚀 ☺︎ ☺️ ✈ 🫠 🫨 🤌🏻🤌🏿 🥲a😀b",
    "∀x∈ℝ: ⌈x⌉ = −⌊−x⌋, α ∧ ¬β = ¬(¬α ∨ β), ∑_{i=0}^{∞} ½ ⅓ ¼ x² x₃ ⁿ √2 ≈ 1.41421356 10⁻⁹ ≠ ∅ → ⇒ ↔ ∮",
    "0 1 12 123 1234 12345 1,234.5 -7 +8 3e-9 0x1F 0b101 1_000 ½ Ⅻ ① ² ₄ ٤ ४ ๔ ４ 𝟒 〤 ৴ ௰ ፲ ᛮ 𐄇 1a2b3 a1 1a v2.0.1",
    "def f(x: int = 3) -> list[str]:\n\tif x >= 0 and x != 7:\n\t\treturn [f'{i:02d}' for i in range(x)]  # done\n    else:\n        pass\n",
    "for (int i=0;i<n;++i){a[i]^=b[i]<<2|c[i]>>1;}//x\n#include <vector>\r\ntemplate<class T>auto f(T&&x)noexcept->decltype(x);",
    "<html lang=\"en\"><body class='a-b_c'>&nbsp;&amp;</body></html> {\"key\": [1, 2.5, null, true], \"s\": \"\\n\\u00e9\"}",
    "https://example.org/path?q=a%20b&c=d#frag user.name+tag@mail.example.co.uk C:\\Windows\\System32 /usr/lib/x86_64 ~/.bashrc",
    "  leading, trailing   ", "a  b   c    d     e", "a\tb\t\tc \t d", "a\nb\n\nc\n\n\nd\r\ne\r\rf \n g\n \nh",
    "x \n\n y\t\n", "\n", "\n\n",
    " ", "  ", "   ", "\t", " \t ", "\r\n", " \n", "\n ", "tail \n  ", "...", "?!?!", "--- === *** ___",
    "$100, £5, ¥20, €3, 50%, 3°C, @home #tag",
    "word" * 40, "x" * 1000, "ab" * 700 + " " + "é" * 300, "-" * 333, "=" * 80, " " * 257 + "z", "\n" * 63, "1" * 100,
    "😀" * 50, "的" * 200,
    "antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis Donaudampfschifffahrtselektrizitäten",
    "".join(chr(c) for c in range(0, 128)), "".join(chr(c) for c in range(128, 256)),
    "a\u0000b\u0001c\u0004d\u0006e\u0013f\u0014g\u0016h\u001di",
    "th\u0004e \u0013and\u001d so", "\ufeffBOM\u200bzero\u200cwidth\u200djoin\u2060er\u00adsoft",
    "\ue000\uf8ff\U000f0000\U0010ffff \ufffd\ufffe\uffff\ufdd0",
    "\u1680a\u180eb\u2000c\u2001d\u2002e\u2003f\u2004g\u2005h\u2006i\u2007j\u2008k\u2009l\u200am\u2028n\u2029o\u202fp\u205fq\u3000r\u0085s\u00a0t\x0bu\x0cv\x1cw\x1dx\x1ey\x1fz",
    "\u3000\u3000two wide \u3000mixed\u00a0 \u00a0nbsp \u2003\u2003em", " \u00a0x", "\u00a0 x", "\u2003\n\u2003y",
    "a\u3000", "\u3000a",
    "ªº ǅ ʰ ˠ ﬀ ﬃ ſ K Å Ω ㎏ ㏂ ℡ ™ © ® ¼ Ⅳ ℵ ꙮ 𖿢 Ꭓ ꭓ ꟊ ꟑ 𞤀𞤢 𑀓 𑄶 𑛀 𐴀𐴰 𞋀 𞋿 𖭐 𞥐", "Ʞ Ɤ ꭤ Ꟛ ꟛ Ɡ 𐗀 𑎀 𖵃 𜳰 𑯀 𖽰",
    "", "a", "Hello", " Hello", "Hello world", "User:", "Assistant:", "Assistant: Yes.", "The answer is 42.\n",
]

ADDED = [
    "<|im_start|>User:<image>What is this?<end_of_utterance>\nAssistant:", "<|im_start|><|im_end|><|endoftext|>",
    "<image><image> <image>", "a<image>b", "a <image> b",
    "<fake_token_around_image><global-img><image><fake_token_around_image>",
    "<fake_token_around_image><row_1_col_1><image>\n\n<fake_token_around_image><global-img>",
    "<row_1_col_1><row_6_col_6><row_3_col_4>x",
    "<row_7_col_1> <row_0_col_0> <row_1_col_7> <row_11_col_1> <row_1_col_1", "<image", "image>", "<imag e>", "<IMAGE>",
    "<<image>>", "< image>",
    "<end_of_utterance><end_of_utterance>\n", "1<end_of_utterance>2", "don'<image>t", " <image>", "<image> ",
    "\n<image>\n",
    "<|reserved_special_token_0|><|reserved_special_token_87|><|reserved_special_token_88|>", "<|im_start|",
    "|im_start|>", "<|im_start|>>",
    "<repo_name>x/y<file_sep>main.py\n<gh_stars>100<issue_start>",
    "<jupyter_code>print(1)<jupyter_output>1<empty_output>", "<global-img", "<global-img>>",
    "<row_1_col_2>\n<row_2_col_1>\n", "中<image>文", "e\u0301<image>\u0301", "<image>\u200d<image>",
    "<file_sep>\n\n<reponame>", "<filename>a<|endoftext|>b",
]

ALPHABETS = [
    "abcdefghijklmnopqrstuvwxyz", "ABCxyz'sdt  \n\t.,", "0123456789.,-+ ", " \t\n\r\x0b\x0c\u00a0\u2003\u3000\u0085",
    "éüßñçøåžłđ ΑΒΓαβγ абвгд",
    "的一是不了人我在有他这中大来上个国", "あいうえおアイウエオ漢字ー。、", "가나다라마바사 ㄱㄴ", "اللهمرحبا َُِ ٠١٢", "नमसते ािी ्१२", "😀👍🏽❤️‍🔥🇩🇪",
    "()[]{}<>|&^%$#@!~`\\/\"'",
    "\u0301\u0308\u20d7\ufe0f\u200d", "²³¼½Ⅷ①٣४𝟗", "'s't're've'm'll'd", "\x00\x01\x1b\x7f\x80\x9f",
]


def random_strings(count):
    draw, out = random.Random(common.SEED), []
    for n in range(count):
        alphabets = draw.sample(ALPHABETS, draw.randint(1, 4))
        out.append("".join(draw.choice(draw.choice(alphabets)) for _ in range(draw.choice((3, 8, 20, 60)))))
    return out


def boundaries():
    """Code points on both sides of each border between the engine's classes or between general categories."""
    classes = json.loads(common.path("unicode_classes.json").read_text())
    out = {p for name in ("letter", "number", "space", "digit_split") for a, b in classes[name]
           for p in (a - 1, a, b, b + 1)}
    category = [unicodedata.category(chr(c)) for c in range(0x110000)]
    coarse = [c[0] for c in category]
    out |= {p for c in range(1, 0x110000) if coarse[c] != coarse[c - 1] for p in (c - 1, c)}
    return sorted(p for p in out if 0 <= p < 0x110000 and not 0xD800 <= p <= 0xDFFF)


def id_lists(tokenizer, texts):
    """Lists that no encoder makes: cut characters, specials among words, random ids."""
    draw, size, out = random.Random(common.SEED + 1), tokenizer.get_vocab_size(), []
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        if len(ids) > 3:
            a, b = sorted(draw.sample(range(len(ids) + 1), 2))
            out += [ids[a:b], ids[::-1][:12]]
    for _ in range(120):
        out.append([draw.randrange(size) for _ in range(draw.randint(1, 14))])
    for _ in range(60):  # the single bytes are low ids
        out.append([draw.randrange(17, 300) for _ in range(draw.randint(1, 9))])
    specials = [0, 1, 2, 16, size - 1, size - 2, 49152, 49153]
    for _ in range(40):
        out.append([draw.choice(specials) if draw.random() < 0.4 else draw.randrange(300, 49000) for _ in range(9)])
    return out + [[], [0], [size - 1]]


def hash_ids(ids):
    return hashlib.sha256(np.asarray(ids, "<i4").tobytes()).hexdigest()


def encode_cases(tokenizers, texts):
    """[{text, ids, string_ids?, decoded?, decoded_skip?...}]: what is absent equals what it would repeat."""
    out = []
    for text in texts:
        case = {"text": text}
        learned, string = (tokenizers[s].encode(text, add_special_tokens=False).ids for s in SCHEMES)
        case["ids"] = learned
        if string != learned:
            case["string_ids"] = string
        for key, scheme, skip in (("decoded", "learned", False), ("decoded_skip", "learned", True),
                                  ("string_decoded", "string", False), ("string_decoded_skip", "string", True)):
            decoded = tokenizers[scheme].decode(string if scheme == "string" else learned, skip_special_tokens=skip)
            if decoded != text:
                case[key] = decoded
        out.append(case)
    return out


def long_case(tokenizer, texts):
    once = "".join(t + "\n" for t in texts if "<" not in t)
    repeats = 100_000 // len(once.encode()) + 1
    ids = tokenizer.encode(once * repeats, add_special_tokens=False).ids
    return {"repeats": repeats, "bytes": len(once.encode()) * repeats, "ids": len(ids), "sha256": hash_ids(ids)}


def blocks(tokenizer):
    """One hash per BLOCK code points, over the ids of PATTERN filled with each of them: every character there is."""
    out = []
    for start in range(0, 0x110000, BLOCK):
        points = [c for c in range(start, start + BLOCK) if not 0xD800 <= c <= 0xDFFF]
        text = "".join(PATTERN.replace("{c}", chr(c)) for c in points)
        out.append(hash_ids(tokenizer.encode(text, add_special_tokens=False).ids))
    return out


def generate():
    tokenizers = {s: Tokenizer.from_file(str(common.path(f"processor_{s}/tokenizer.json"))) for s in SCHEMES}
    texts = list(dict.fromkeys(SENTENCES + ADDED + random_strings(260)))
    common.write_json("tokenizer_cases.json", {
        "note": "ids: learned scheme; string_ids: string scheme where it differs; decoded (ids, specials kept), "
                "decoded_skip (specials skipped) and string_decoded, string_decoded_skip where they differ from text. "
                "long: the texts without '<', each followed by a newline, `repeats` times; sha256 of the ids as little-endian int32",
        "long": long_case(tokenizers["learned"], texts),
        "cases": encode_cases(tokenizers, texts),
        "decode": [{"ids": ids, "text": tokenizers["learned"].decode(ids, skip_special_tokens=False),
                    "skip": tokenizers["learned"].decode(ids, skip_special_tokens=True)}
                   for ids in id_lists(tokenizers["learned"], SENTENCES)]})
    learned = tokenizers["learned"]
    common.write_json("tokenizer_code_points.json", {
        "note": "pattern: {c} stands for the code point; cases: [code point, ids] at every class border; blocks: sha256 "
                "of the ids (little-endian int32) of the pattern filled with each code point of a block of `block`, "
                "surrogates left out, the whole encoded as one text",
        "pattern": PATTERN, "block": BLOCK, "blocks": blocks(learned),
        "cases": [[c, learned.encode(PATTERN.replace("{c}", chr(c)), add_special_tokens=False).ids]
                  for c in boundaries()]})
