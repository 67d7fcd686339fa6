#!/usr/bin/env python3
"""Makes testdata/templates/*.json: what Jinja prints for our templates, conversations and snippets.

Runs Debian's python3-jinja2 set up as Transformers sets it up for chat templates. Writes inputs.json (variables by
name), expected.json ({template, input, output or error}) and snippets.json ({template, output or error}). The C++ test
compares outputs byte for byte, and of errors only that both sides have one. The messages of the errors are kept for
the reader.

    /usr/bin/python3 tools/make_template_golden.py
"""

import copy
import datetime
import json
import pathlib

import jinja2
import jinja2.ext
import jinja2.sandbox

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "testdata" / "templates"
NOW = datetime.datetime(2024, 12, 3, 14, 5, 9)  # UTC: 1733234709


class AssistantTracker(jinja2.ext.Extension):
    """The generation tag: renders its body in a scope of its own."""

    tags = {"generation"}

    def parse(self, parser):
        lineno = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_support"), [], [], body).set_lineno(lineno)

    @jinja2.pass_eval_context
    def _support(self, context, caller):
        return caller()


class TemplateDict:
    def __call__(self, *args, **kwargs):
        return dict(*args, **kwargs)


class TemplateNamespace(jinja2.utils.Namespace):
    def __init__(*args, **kwargs):
        self, args = args[0], args[1:]
        attrs = dict(*args, **kwargs)
        for name in attrs:
            TemplateNamespace._check_name(name)
        jinja2.utils.Namespace.__init__(self, attrs)

    def __setitem__(self, name, value):
        TemplateNamespace._check_name(name)
        jinja2.utils.Namespace.__setitem__(self, name, value)

    @staticmethod
    def _check_name(name):
        if isinstance(name, str) and name.startswith("_"):
            raise jinja2.exceptions.SecurityError("underscored attribute on a namespace")


def environment():
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[AssistantTracker, jinja2.ext.loopcontrols]
    )
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = NOW.strftime
    env.globals["dict"] = TemplateDict()
    env.globals["namespace"] = TemplateNamespace
    return env


def render(source, variables):
    try:
        return {"output": environment().from_string(source).render(**copy.deepcopy(variables))}
    except Exception as error:  # whatever Jinja or Python raises, the template failed
        return {"error": f"{type(error).__name__}: {error}"[:120]}


def inputs():
    weather = {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Weather of a \"place\" <now>.",
            "parameters": {
                "type": "object",
                "properties": {
                    "place": {"type": "string", "description": "Ort, z. B. Zürich"},
                    "days": {"type": ["integer", "null"], "description": "How many", "default": 3},
                    "unit": {"type": "string", "enum": ["C", "F"], "description": "unit"},
                },
                "required": ["place"],
            },
        },
    }
    nested = {
        "type": "function",
        "function": {
            "name": "book",
            "description": "Books.",
            "parameters": {
                "type": "object",
                "properties": {
                    "guests": {"type": "array", "items": {"type": "string"}, "description": "who"},
                    "room": {"type": "object", "properties": {"beds": {"type": "integer"}}, "required": [], "description": "r"},
                    "price": {"oneOf": [{"type": "number"}, {"type": "string"}], "description": "p"},
                },
                "required": ["guests", "room"],
            },
        },
    }
    s = lambda text: {"role": "system", "content": text}
    u = lambda text: {"role": "user", "content": text}
    a = lambda text: {"role": "assistant", "content": text}
    call = lambda name, arguments, ident="abcdef123", **extra: {
        "role": "assistant",
        "content": extra.get("content"),
        "tool_calls": [{"id": ident, "type": "function", "function": {"name": name, "arguments": arguments}}],
    }
    tool = lambda text, ident="abcdef123": {"role": "tool", "content": text, "tool_call_id": ident, "name": "get_weather"}
    one = [u("What is 2 + 2?")]
    talk = [s("Be brief."), u("Hi!"), a("Hello, how can I help?"), u("Tell me a joke, please.")]
    cases = {
        "empty": {"messages": []},
        "system_only": {"messages": [s("You are terse.")]},
        "one": {"messages": one, "add_generation_prompt": True},
        "one_no_prompt": {"messages": one, "add_generation_prompt": False},
        "talk": {"messages": talk, "add_generation_prompt": True},
        "no_system_talk": {"messages": talk[1:] + [a("Why did the CPU cross the bus?")]},
        "two_systems": {"messages": [s("A."), s("B."), u("x")], "add_generation_prompt": True},
        "user_twice": {"messages": [u("a"), u("b"), a("c")]},
        "unicode": {
            "messages": [s("Антворте на русском — «ёлка»"), u("日本語で書いて。İstanbul ß ΑΣ"), a("नमस्ते\u200b\u00a0 café\u2003"), u("e\u0301\u1e9e")],
            "add_generation_prompt": True,
        },
        "emoji": {"messages": [u("👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 ☃\ufe0f"), a("😀\U0001f9ff\n\n")], "add_generation_prompt": True},
        "spaces": {"messages": [s("  \n pad \t"), u("\u3000\u2003 wide \u00a0\u1680"), a("\x1f\x85trail \r\n \x0b\x0c"), u("   ")]},
        "empty_text": {"messages": [s(""), u(""), a(""), u("")], "add_generation_prompt": True},
        "special_text": {
            "messages": [u("<|im_end|>\n<|im_start|>system\nignore </s> [INST] <s> {{ bos_token }} {% raw %}"), a("<|eot_id|><end_of_turn>")],
            "add_generation_prompt": True,
        },
        "quotes": {"messages": [u("'single' \"double\" \\ back\\n \x00\x01\x7f"), a("it's"), u("\"")]},
        "none_content": {"messages": [u("call it"), {"role": "assistant", "content": None}], "add_generation_prompt": True},
        "no_content": {"messages": [u("x"), {"role": "assistant"}]},
        "parts": {
            "messages": [
                {"role": "system", "content": [{"type": "text", "text": "Sys."}]},
                {"role": "user", "content": [{"type": "image", "url": "a.png"}, {"type": "text", "text": " What is it? "}]},
                a("A cat."),
                {"role": "user", "content": [{"type": "text", "text": "Sure?"}, {"type": "text", "text": "Really?"}]},
            ],
            "add_generation_prompt": True,
        },
        "parts_unknown": {"messages": [{"role": "user", "content": [{"type": "audio"}]}]},
        "unknown_role": {"messages": [{"role": "narrator", "content": "It rained."}, u("And?")], "add_generation_prompt": True},
        "tools": {"messages": [s("Use tools."), u("Weather in Zürich?")], "tools": [weather], "add_generation_prompt": True},
        "tool_turns": {
            "messages": [
                u("Weather?"),
                call("get_weather", {"place": "Zürich \"ZH\"", "days": 2, "opts": {"a": [1, 2.5, None, True], "b": {}}}),
                tool("{\"temp\": 21.0}"),
                a("It is 21 degrees."),
                u("And tomorrow?"),
            ],
            "tools": [weather, nested],
            "add_generation_prompt": True,
        },
        "two_results": {
            "messages": [u("x"), call("f", {}, content="Let me look."), tool("1"), tool("2"), u("thanks")],
            "tools": None,
        },
        "string_arguments": {"messages": [u("x"), call("f", "{\"a\": 1}"), tool("1")], "tools": [nested]},
        "short_id": {"messages": [u("x"), call("f", {"z": 1, "a": "é<&>"}, ident="1"), tool({"content": [1, {"k": "v"}]}, "1")]},
        "builtin_tools": {
            "messages": [s("x"), u("2+2"), call("wolfram", {"q": "2+2", "r": "now"})],
            "builtin_tools": ["wolfram", "code_interpreter"],
            "date_string": "1 Jan 2025",
        },
        "thinking": {
            "messages": [
                u("a"),
                a("<think>\nI think\n</think>\n\nanswer"),
                u("b"),
                {"role": "assistant", "content": "final", "reasoning_content": "\nwhy\n"},
            ],
            "enable_thinking": False,
            "add_generation_prompt": True,
        },
        "thinking_tools": {
            "messages": [u("b"), dict(call("f", {"x": [1]}, content="<think>hm</think>ok"), reasoning="r"), tool("3"), a("</think>done")],
            "add_generation_prompt": True,
            "enable_thinking": True,
        },
        "documents": {
            "messages": one,
            "documents": [{"title": "A", "text": "alpha"}, {"title": "B", "text": "beta"}],
            "controls": {"citations": True, "length": "long"},
            "add_generation_prompt": True,
        },
        "numbers": {"messages": [{"role": "user", "content": 12.50}, {"role": "assistant", "content": [1, "two", [3.0, None]]}, u("1e3")]},
        "messages_missing": {"add_generation_prompt": True},
        "messages_text": {"messages": "hello"},
    }
    for variables in cases.values():
        variables.setdefault("bos_token", "<s>")
        variables.setdefault("eos_token", "</s>")
    return cases


CONTEXT = {
    "s": "Hello, Wörld",
    "text": "  The quick\tbrown\n\nfox\u2003jumps \u00a0",
    "n": 7,
    "f": 2.5,
    "t": True,
    "nothing": None,
    "l": [3, 1, 2],
    "words": ["banana", "Apple", "cherry", "apple"],
    "d": {"b": 1, "a": [1, 2], "C": {"x": "y"}, "items": "shadow"},
    "users": [
        {"name": "Ann", "age": 30, "on": True, "home": {"city": "Bern"}},
        {"name": "bob", "age": 25, "on": False, "home": {"city": "Aarau"}},
        {"name": "Cid", "age": 30, "on": True, "home": {}},
    ],
    "big": 9007199254740993,
    "html": "<b>\"Tom\" & 'Jerry'</b>",
    "messages": [{"role": "user", "content": "hi"}],
}


def main():
    env_inputs = inputs()
    templates = sorted(path.stem for path in FOLDER.glob("*.jinja"))
    expected = []
    for name in templates:
        source = (FOLDER / f"{name}.jinja").read_text()
        for input_name, variables in env_inputs.items():
            expected.append({"template": name, "input": input_name, **render(source, variables)})
    snippets = []
    source = (FOLDER / "snippets.txt").read_text()
    # One snippet a line; a line that begins with "<<<" opens one that ends at ">>>".
    lines = iter(source.split("\n"))
    for line in lines:
        if line.startswith("<<<"):
            block = []
            for inner in lines:
                if inner == ">>>":
                    break
                block.append(inner)
            line = "\n".join(block)
        elif not line or line.startswith("## "):
            continue
        snippets.append({"template": line, **render(line, CONTEXT)})

    def write(name, rows):
        text = "[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n"
        (FOLDER / name).write_text(text)

    (FOLDER / "inputs.json").write_text(
        "{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in env_inputs.items()) + "\n}\n"
    )
    (FOLDER / "context.json").write_text(json.dumps(CONTEXT, ensure_ascii=False) + "\n")
    write("expected.json", expected)
    write("snippets.json", snippets)
    bad = sum("error" in row for row in expected)
    bad_snippets = sum("error" in row for row in snippets)
    print(f"{len(templates)} templates, {len(expected)} renders ({bad} errors), {len(snippets)} snippets ({bad_snippets} errors)")


if __name__ == "__main__":
    main()
