"""What a client may write: any valid JSON, and nothing else; and which error each message gets."""

from __future__ import annotations

import json

import chat_wire as wire
from chat_lab import REGISTRY, Lab, equal

LARGEST_ID = (1 << 53) - 1
DEEP = 1500
ASTRAL = "\U0001f600"


def speech(text: str, number: str = "1") -> str:
    """Return a chat message whose text and number are written as given, between the quotes."""
    return f'{{"type":"chat","id":{number},"text":"{text}"}}'


NOT_JSON = {
    "empty": "",
    "space": " \t\r\n",
    "open-object": "{",
    "open-string": '{"type":"leave',
    "no-colon": '{"type" "leave"}',
    "no-comma": '{"type":"leave" "a":1}',
    "comma-at-the-end": '{"type":"leave",}',
    "comma-in-front": '{,"type":"leave"}',
    "single-quotes": "{'type':'leave'}",
    "bare-name": "{type:1}",
    "number-as-name": "{1:2}",
    "two-values": '{"type":"leave"}{}',
    "word-behind": '{"type":"leave"} x',
    "comment": '{"type":"leave"}//x',
    "word": "nul",
    "upper-case-word": '{"a":True}',
    "nan": '{"a":NaN}',
    "infinity": '{"a":-Infinity}',
    "leading-zero": '{"a":01}',
    "plus": '{"a":+1}',
    "point-first": '{"a":.5}',
    "point-last": '{"a":1.}',
    "lone-minus": '{"a":-}',
    "exponent-without-digits": '{"a":1e}',
    "exponent-sign-only": '{"a":1e+}',
    "hex": '{"a":0x10}',
    "array-comma-at-the-end": '{"a":[1,]}',
    "array-comma-only": '{"a":[,]}',
    "wrong-bracket": '{"a":[1}',
    "wrong-brace": '{"a":{"b":1]}',
    "control-in-string": '{"a":"\x01"}',
    "line-feed-in-string": '{"a":"\n"}',
    "escape-unknown": '{"a":"\\x41"}',
    "escape-upper-case": '{"a":"\\N"}',
    "escape-cut": '{"a":"\\u00"}',
    "escape-not-hex": '{"a":"\\u00g0"}',
    "escape-at-the-end": '{"a":"\\',
    "lone-high-surrogate": '{"a":"\\ud83d"}',
    "lone-low-surrogate": '{"a":"\\ude00"}',
    "surrogates-swapped": '{"a":"\\ude00\\ud83d"}',
    "high-and-letter": '{"a":"\\ud83d\\u0041"}',
    "high-and-high": '{"a":"\\ud83d\\ud83d"}',
    "lone-surrogate-in-a-name": '{"\\ud83d":1}',
    "byte-order-mark": '\ufeff{"type":"leave"}',
    "nul-behind": '{"type":"leave"}\0',
    "form-feed-as-space": '\f{"type":"leave"}',
    "no-break-space": '\u00a0{"type":"leave"}',
    "deep-and-open": "[" * DEEP,
    "deep-and-wrong": "[" * DEEP + "]" * (DEEP - 1) + "}",
}
NOT_OBJECT = {
    "array": "[]",
    "array-of-object": '[{"type":"leave"}]',
    "string": '"leave"',
    "number": "-1.5E+3",
    "null": " null ",
    "true": "true",
    "deep": "[" * DEEP + "]" * DEEP,
}
WRONG = {
    "unknown type": {
        "empty-object": "{}",
        "no-type": '{"room":"a","nick":"b"}',
        "other": '{"type":"shout"}',
        "upper-case": '{"type":"Join","room":"a","nick":"b"}',
        "empty": '{"type":""}',
        "number": '{"type":1}',
        "null": '{"type":null}',
        "array": '{"type":["leave"]}',
        "last-one-counts": '{"type":"leave","type":"shout"}',
    },
    "bad room": {
        "missing": '{"type":"join","nick":"n"}',
        "empty": wire.join(""),
        "65-bytes": wire.join("a" * 65),
        "upper-case": wire.join("Room"),
        "space": wire.join("a b"),
        "dot": wire.join("a.b"),
        "umlaut": wire.join("ä"),
        "slash": wire.join("a/b"),
        "number": '{"type":"join","room":1,"nick":"n"}',
        "null": '{"type":"join","room":null,"nick":"n"}',
        "before-nick": '{"type":"join","room":"","nick":""}',
    },
    "bad nick": {
        "missing": '{"type":"join","room":"a"}',
        "empty": wire.join("a", ""),
        "33-characters": wire.join("a", "n" * 33),
        "33-of-four-bytes": wire.join("a", ASTRAL * 33),
        "line-feed": wire.join("a", "a\nb"),
        "nul": wire.join("a", "\0"),
        "delete": wire.join("a", "a\x7f"),
        "c1-control": wire.join("a", "a\x85"),
        "escaped-control": '{"type":"join","room":"a","nick":"\\u001f"}',
        "number": '{"type":"join","room":"a","nick":7}',
        "object": '{"type":"join","room":"a","nick":{}}',
    },
    "bad text": {
        "missing": '{"type":"chat","id":1}',
        "empty": speech(""),
        "2001-bytes": speech("x" * 2001),
        "1001-of-two-bytes": speech("é" * 1001),
        "2001-once-unescaped": speech("x" * 1999 + r"\u00e9"),
        "number": '{"type":"chat","id":1,"text":1}',
        "null": '{"type":"chat","id":1,"text":null}',
        "array": '{"type":"chat","id":1,"text":["x"]}',
    },
    "bad id": {
        "missing": '{"type":"chat","text":"x"}',
        "negative": speech("x", "-1"),
        "2-to-53": speech("x", str(LARGEST_ID + 1)),
        "2-to-64": speech("x", str(1 << 64)),
        "huge": speech("x", "9" * 400),
        "fraction": speech("x", "1.5"),
        "string": speech("x", '"1"'),
        "null": speech("x", "null"),
    },
}
TEXTS = {
    "plain": ("hello", "hello"),
    "short-escapes": (r"\"\\\/\b\f\n\r\t", '"\\/\b\f\n\r\t'),
    "unicode-escapes": (r"\u0041\u00e9\u20AC\u20ac", "Aé€€"),
    "surrogate-pair": (r"\ud83d\ude00", ASTRAL),
    "surrogate-pair-upper-case": (r"\uD83D\uDE00", ASTRAL),
    "raw-astral": (ASTRAL, ASTRAL),
    "nul": (r"a\u0000b", "a\0b"),
    "all-controls": ("".join(f"\\u{code:04x}" for code in range(32)), "".join(map(chr, range(32)))),
    "all-controls-upper-case": ("".join(f"\\u{code:04X}" for code in range(32)), "".join(map(chr, range(32)))),
    "delete-and-c1": ("\x7f\x80\x9f", "\x7f\x80\x9f"),
    "line-separators-stay-raw": ("\u2028\u2029", "\u2028\u2029"),
    "html-stays-raw": ("<b>&amp;</b>'", "<b>&amp;</b>'"),
    "slash-stays-raw": ("a/b", "a/b"),
    "escaped-line-separator-becomes-raw": (r"\u2028\u003c", "\u2028<"),
    "noncharacters": ("\uffff\ufffe\U0010ffff", "\uffff\ufffe\U0010ffff"),
    "noncharacters-escaped": (r"\uffff\udbff\udfff", "\uffff\U0010ffff"),
    "bidirectional-and-joined": ("\u202e\u200d\ufeff", "\u202e\u200d\ufeff"),
    "quote-after-escape": (r"\\\"", '\\"'),
    "one-space": (" ", " "),
    "2000-bytes": ("x" * 2000, "x" * 2000),
    "2000-bytes-of-two": ("é" * 1000, "é" * 1000),
    "2000-bytes-escaped-twice": ('\\"' * 2000, '"' * 2000),
    "330-astral-escaped": (r"\ud83d\ude00" * 330, ASTRAL * 330),
}
SHAPES = {
    "order": '{"text":"x","id":1,"type":"chat"}',
    "space": '\t{ "type" :\r\n"chat" , "id" : 1 ,\n"text":\t"x" } \n',
    "escaped-names": r'{"\u0074ype":"ch\u0061t","i\u0064":1,"t\u0065xt":"\u0078"}',
    "unknown-members": '{"a":null,"type":"chat","b":[1,{"c":[]}],"id":1,"text":"x","d":{"type":"join","text":7}}',
    "unknown-deep": '{"a":' + "[" * DEEP + "]" * DEEP + ',"type":"chat","id":1,"text":"x"}',
    "unknown-deep-objects": '{"a":' + '{"b":' * 400 + "1" + "}" * 400 + ',"type":"chat","id":1,"text":"x"}',
    "unknown-big-numbers": '{"a":' + "9" * 400 + ',"b":1e999,"c":-1E-999,"type":"chat","id":1,"text":"x"}',
    "unknown-escapes": r'{"a":"\ud83d\ude00\u0000","\"\\":1,"type":"chat","id":1,"text":"x"}',
    "empty-name": '{"":1,"type":"chat","id":1,"text":"x"}',
    "last-duplicate-counts": '{"type":"leave","id":7,"text":"y","type":"chat","id":1,"text":"x"}',
    "last-duplicate-of-another-kind": '{"type":1,"id":"7","text":[],"type":"chat","id":1,"text":"x"}',
    "names-of-other-case": '{"Type":"leave","TEXT":"y","ID":9,"type":"chat","id":1,"text":"x"}',
    "members-of-join": '{"type":"chat","room":"OTHER","nick":"","id":1,"text":"x"}',
    "long-name": '{"' + "n" * 3000 + '":1,"type":"chat","id":1,"text":"x"}',
}


def _add_errors() -> None:
    tables = {"not json": NOT_JSON, "not an object": NOT_OBJECT, **WRONG}
    for reason, table in tables.items():
        for name, sent in table.items():

            async def wrong(lab: Lab, reason: str = reason, sent: str = sent) -> None:
                async with lab.server() as server:
                    if reason in ("bad text", "bad id"):
                        member = await server.member()
                        await member.raw.say(sent)
                        equal("answer", wire.error(reason), await member.of_kind("error", "accepted"))
                        return
                    raw = await server.websocket()
                    await raw.say(sent)
                    equal("answer", wire.error(reason), await raw.text())
                    await raw.say(wire.join())
                    equal("the next message", wire.joined("room", "nick", 1), await raw.text())

            REGISTRY.add(f"json/{reason.replace(' ', '-')}/{name}", wrong)


def _add_good() -> None:
    for name, (written, meant) in TEXTS.items():

        async def text(lab: Lab, written: str = written, meant: str = meant) -> None:
            async with lab.server("--max-message-bytes", "8192") as server:
                sender, receiver = await server.member("room", "n"), await server.member("room", "m")
                await sender.raw.say(speech(written))
                equal("to the sender", wire.accepted(1, 1), await sender.of_kind("accepted", "error"))
                equal("to the other", wire.chatted("room", "n", 1, meant), await receiver.of_kind("chat"))
                equal("as JSON", meant, wire.content(receiver.of("chat")[0])["text"])

        REGISTRY.add(f"json/text/{name}", text)
    for name, sent in SHAPES.items():

        async def shape(lab: Lab, sent: str = sent) -> None:
            async with lab.server() as server:
                sender, receiver = await server.member("room", "n"), await server.member("room", "m")
                await sender.raw.say(sent)
                equal("to the sender", wire.accepted(1, 1), await sender.of_kind("accepted", "error", "left"))
                equal("to the other", wire.chatted("room", "n", 1, "x"), await receiver.of_kind("chat"))

        REGISTRY.add(f"json/shape/{name}", shape)


_add_errors()
_add_good()


@REGISTRY.named("json/id/edges")
async def ids(lab: Lab) -> None:
    """Numbers from 0 to 2^53-1 come back as they are, and may come again."""
    async with lab.server("--rate", "0") as server:
        member = await server.member()
        numbers = [0, 1, 9, 10, 255, 256, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32]
        numbers += [LARGEST_ID - 1, LARGEST_ID, 0, 7, 7]
        for seq, number in enumerate(numbers, 1):
            await member.say(number, "x")
            equal("accepted", wire.accepted(number, seq), await member.of_kind("accepted", "error"))


@REGISTRY.named("json/nick/edges")
async def nicks(lab: Lab) -> None:
    """Nicks of 32 characters of any length, with quotes, and escaped."""
    async with lab.server() as server:
        for nick in ("n" * 32, "é" * 32, ASTRAL * 32, '"\\/', "a b", "\u00a0", "\u2028", "<&>'", "\u200d"):
            raw = await server.websocket()
            await raw.say(json.dumps({"type": "join", "room": "r", "nick": nick}))
            equal("joined", wire.joined("r", nick, 1), await raw.text())
            raw.close()
            await server.counted(members=0)


@REGISTRY.named("json/room/edges")
async def rooms(lab: Lab) -> None:
    """Every allowed character, and 64 of them."""
    async with lab.server() as server:
        for room in ("a", "0", "-", "_", "abcdefghijklmnopqrstuvwxyz0123456789_-", "z" * 64):
            raw = await server.websocket()
            await raw.say(wire.join(room))
            equal("joined", wire.joined(room, "nick", 1), await raw.text())
