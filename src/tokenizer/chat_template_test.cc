// The interpreter's limits (the section *Templates* of the safety list), its error sentences, and which bytes
// of a prompt are data. That it prints what Jinja prints is chat_template_golden_test.cc.
#include "tokenizer/chat_template.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

namespace fusiontree::tokenizer {
namespace {

using base::Result;

TemplateValue Data(const std::string& json) {
  Result<TemplateValue> value = TemplateValue::FromJson(json, TextOrigin::kData);
  EXPECT_TRUE(value.ok()) << value.status().message();
  return *value;
}

Result<RenderedPrompt> Spans(const std::string& source, const TemplateValue& globals,
                             const TemplateLimits& limits = {}) {
  FT_ASSIGN_OR_RETURN(const ChatTemplate parsed, ChatTemplate::Parse(source));
  return parsed.RenderSpans(globals, limits);
}

std::string Failure(const std::string& source, const std::string& json = "{}",
                    const TemplateLimits& limits = {}) {
  const Result<RenderedPrompt> result = Spans(source, Data(json), limits);
  EXPECT_FALSE(result.ok()) << source;
  return result.ok() ? "" : result.status().message();
}

std::string Text(const std::string& source, const std::string& json = "{}") {
  const Result<RenderedPrompt> result = Spans(source, Data(json));
  EXPECT_TRUE(result.ok()) << result.status().message();
  return result.ok() ? result->text : "";
}

// The text with its data between square brackets.
std::string Marked(const std::string& source, const std::string& json) {
  const TemplateValue globals = Data(json);
  const Result<RenderedPrompt> result = Spans(source, globals);
  EXPECT_TRUE(result.ok()) << result.status().message();
  if (!result.ok()) return "";
  std::string out;
  size_t at = 0;
  for (const Span& span : result->data_spans) {
    EXPECT_LE(at, span.begin);
    EXPECT_LT(span.begin, span.end);
    out += result->text.substr(at, span.begin - at) + "[" +
           result->text.substr(span.begin, span.end - span.begin) + "]";
    at = span.end;
  }
  return out + result->text.substr(at);
}

std::string Repeated(const std::string& text, size_t times) {
  std::string out;
  for (size_t i = 0; i < times; ++i) out += text;
  return out;
}

TEST(ChatTemplateSafety, HugeResultsAreRefusedBeforeTheyAreMade) {
  EXPECT_EQ(Failure("{{ range(10**9) }}"),
            "chat template line 1: a range of 1000000000 numbers is longer than the 100000 allowed");
  TemplateLimits limits;  // smaller than the defaults, to be quick under sanitizers
  limits.value_bytes = limits.output_bytes = 4 << 20;
  limits.total_bytes = 16 << 20;
  for (const char* source : {
           "{{ 'a' * 10**9 }}",
           "{{ 10**9 * 'a' }}",
           "{{ [0] * 10**9 }}",
           "{{ ('a' * 10**6)|replace('a', 'b' * 1000) }}",
           "{{ '%999999999d' % 1 }}",
           "{{ '%.999999999f' % 1 }}",
           "{{ '%*d' % (10**9, 1) }}",
           "{{ '%*d' % (-9223372036854775807 - 1, 1) }}",
           "{{ '{:999999999}'.format(1) }}",
           "{{ '{:{}}'.format('x', 10**12) }}",
           "{{ '{:.999999f}'.format(1.5) }}",
           "{{ 'x'.center(10**9) }}",
           "{{ 'x'.ljust(10**18) }}",
           "{{ 'x'.zfill(10**9) }}",
           "{{ '\\t'.expandtabs(10**9) }}",
           "{{ 'a\\nb'|indent(10**9) }}",
           "{{ 'x'|center(10**9) }}",
           "{{ [1]|batch(10**9, 0)|list }}",
           "{{ {}|tojson(indent=10**9) }}",
           "{{ [1]|slice(10**9)|list }}",
           "{{ strftime_now('%999999999d') }}",
           "{% set ns = namespace(s='ab') %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor "
           "%}",
           "{% set ns = namespace(l=[1]) %}{% for i in range(100) %}{% set ns.l = ns.l + ns.l %}{% endfor %}",
           "{% for i in range(1000) %}{{ 'x' * 1000000 }}{% endfor %}",
           "{{ 9223372036854775807 + 1 }}",
           "{{ 10 ** 100 }}",
           "{{ (-9223372036854775807 - 1) // -1 }}",
           "{{ -(-9223372036854775807 - 1) }}",
           "{{ (-9223372036854775807 - 1)|abs }}",
           "{{ range(-9223372036854775807, 9223372036854775807, 9223372036854775807)|list }}",
       }) {
    EXPECT_TRUE(Failure(source, "{}", limits).starts_with("chat template line 1: ")) << source;
  }
}

TEST(ChatTemplateSafety, EndlessWorkIsCutOff) {
  TemplateLimits limits;
  limits.steps = 200000;
  for (const char* source : {
           "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% "
           "endfor "
           "%}{% endfor %}",
           "{% for a in range(1000) %}{{ range(100000)|list|length }}{% endfor %}",
           "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor "
           "%}{{ ns.x == "
           "[ns.x, 1] }}{% set ns.y = [1] %}{% for i in range(60) %}{% set ns.y = [ns.y, ns.y] %}{% endfor "
           "%}{{ ns.x == "
           "ns.y }}",
           "{% set ns = namespace(x=(1,)) %}{% for i in range(60) %}{% set ns.x = (ns.x, ns.x) %}{% endfor "
           "%}{{ {ns.x: "
           "1} }}{{ ns.x }}",
           "{% for a in range(99999) %}{{ range(99999)|sort|length }}{% endfor %}",
           "{% for a in range(99999) %}{{ 99999 in range(99999) }}{% endfor %}",
           "{% for a in range(99999) if range(99999)|sum < 0 %}{% endfor %}",
       }) {
    EXPECT_NE(Failure(source, "{}", limits).find("steps it may take"), std::string::npos) << source;
  }
}

TEST(ChatTemplateSafety, NestingIsBounded) {
  EXPECT_NE(Failure("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}").find("nests deeper"),
            std::string::npos);
  EXPECT_NE(Failure("{% macro m() %}{% call m() %}{% endcall %}{{ caller() }}{% endmacro %}{{ m() }}"), "");
  EXPECT_NE(Failure("{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}").find("nests deeper"),
            std::string::npos);
  const size_t many = 1000000;
  const size_t some = 100000;
  for (const std::string& source : {
           "{{ " + Repeated("(", many) + Repeated(")", many) + " }}",
           "{{ " + Repeated("[", many),
           "{{ " + Repeated("{1:", many),
           "{{ " + Repeated("-", some) + "1 }}",
           "{{ " + Repeated("not ", some) + "1 }}",
           "{{ 1" + Repeated("+1", some) + " }}",
           "{{ 1" + Repeated("|abs", some) + " }}",
           "{{ x" + Repeated(".x", some) + " }}",
           "{{ x" + Repeated("[x", many) + " }}",
           "{{ x" + Repeated("(", many) + " }}",
           "{{ 1 if 1 else " + Repeated("1 if 1 else ", some / 12) + "1 }}",
           Repeated("{% if 1 %}", some / 10),
           Repeated("{% for x in y %}", some / 20),
           Repeated("{% macro m() %}", some / 20),
       }) {
    EXPECT_TRUE(Failure(source).starts_with("chat template line 1: ")) << source.substr(0, 20);
  }
  // Values that nest, and objects that hold themselves.
  EXPECT_NE(
      Failure("{% set ns = namespace(x=[]) %}{% for i in range(99999) %}{% set ns.x = [ns.x] %}{% endfor %}"),
      "");
  EXPECT_NE(
      Failure(
          "{% set ns = namespace(x={}) %}{% for i in range(99999) %}{% set ns.x = {1: ns.x} %}{% endfor %}"),
      "");
  EXPECT_NE(
      Failure("{% set ns = namespace(g=[]) %}{% for i in range(99999) %}{% set ns.g = ns.g|map('upper') "
              "%}{% endfor %}"),
      "");
  EXPECT_NE(Failure("{% set ns = namespace() %}{% set ns.ns = ns %}{{ ns }}"), "");
  EXPECT_EQ(Text("{% set ns = namespace() %}{% set ns.l = [ns] %}{% set ns.g = ns.l|map('default', ns) %}"
                 "{% macro m() %}{% endmacro %}{% set ns.m = m %}{% for x in ns.l %}{% set ns.loop = loop %}"
                 "{{ loop.changed(ns) }}{% endfor %}"),
            "True");
  EXPECT_EQ(Text("{% set ns = namespace(n=0) %}{% for x in [1, 2, 3] if (ns.l.length if ns.l else 0) >= 0 %}"
                 "{% set ns.l = loop %}{{ x }}{% endfor %}"),
            "123");
}

TEST(ChatTemplateSafety, AttributesLeadNowhere) {
  EXPECT_EQ(Text("{{ ''.__class__ }}{{ [].__class__ }}{{ {}.__init__ }}{{ range.__globals__ }}"), "");
  for (const char* source :
       {"{{ ''.__class__.__mro__ }}", "{{ ''['__class__']['__base__'] }}",
        "{{ ''|attr('__class__')|attr('x') }}", "{{ '{0.__class__.__mro__}'.format('') }}",
        "{{ [].append(1) }}", "{{ {}.update({}) }}", "{{ self.x.y }}", "{{ cycler.__init__.__globals__ }}",
        "{% macro m() %}{% endmacro %}{{ m.__call__() }}", "{% include '/etc/passwd' %}"}) {
    EXPECT_TRUE(Failure(source).starts_with("chat template line 1: ")) << source;
  }
}

TEST(ChatTemplateSafety, OddConversations) {
  const std::string source =
      "{% for m in messages %}{% if m.role not in ['user', 'assistant'] %}{{ raise_exception('Unknown role: "
      "' ~ m.role) "
      "}}{% endif %}<{{ m.role }}>{{ m.content + '\\n' }}{% endfor %}";
  EXPECT_EQ(Text(source, R"({"messages": []})"), "");
  EXPECT_EQ(Failure(source, R"({"messages": [{"role": "wizard", "content": "x"}]})"),
            "chat template line 1: the template refuses these messages: Unknown role: wizard");
  for (const char* json :
       {R"({"messages": [{"role": "user"}]})", R"({"messages": [{"role": "user", "content": 5}]})",
        R"({"messages": [{"role": "user", "content": null}]})", R"({"messages": [[]]})", R"({"messages": 5})",
        R"({"messages": ["text"]})"}) {
    EXPECT_TRUE(Failure(source, json).starts_with("chat template line 1: ")) << json;
  }
  EXPECT_EQ(Failure("{{ x }}", "[]"),
            "a chat template renders a dict of variables, not a value of type list");
}

TEST(ChatTemplateSafety, TenThousandMessages) {
  std::string json = R"({"messages": [)";
  std::string expected;
  for (int i = 0; i < 10000; ++i) {
    const std::string role = i % 2 == 0 ? "user" : "assistant";
    json += (i > 0 ? "," : "") + (R"({"role": ")" + role + R"(", "content": "message )") + std::to_string(i) +
            R"("})";
    expected += "<|im_start|>" + role + "\nmessage " + std::to_string(i) + "<|im_end|>\n";
  }
  json += "]}";
  EXPECT_EQ(
      Text("{% for message in messages %}{% if loop.first and messages[0]['role'] == 'system' %}x{% endif %}"
           "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] | trim + '<|im_end|>' + '\n' }}"
           "{% endfor %}",
           json),
      expected);
}

TEST(ChatTemplateSafety, JsonIsRefusedInOneSentence) {
  const auto refused = [](const std::string& json) {
    const Result<TemplateValue> value = TemplateValue::FromJson(json, TextOrigin::kData);
    return value.ok() ? "" : value.status().message();
  };
  EXPECT_EQ(refused(Repeated("[", 100000)), "the JSON text holds values nested deeper than 128 levels");
  EXPECT_EQ(refused(Repeated("{\"a\":", 100000)), "the JSON text holds values nested deeper than 128 levels");
  EXPECT_EQ(refused("[18446744073709551615]"),
            "the JSON text holds an integer beyond 64 bits (18446744073709551615)");
  EXPECT_EQ(refused("123456789012345678901234567890"),
            "the JSON text holds an integer beyond 64 bits (123456789012345678901234567890)");
  EXPECT_EQ(refused(""), "the JSON text: it is empty, where JSON was expected");
  EXPECT_EQ(refused("\"\xff\""), "the JSON text: it is not UTF-8 at byte 1");
  for (const char* json : {"{", "[1,]", "\"\\ud800\"", "nul", "[1] 2", "{\"a\" 1}"}) {
    EXPECT_TRUE(refused(json).starts_with("the JSON text holds no valid JSON at byte "))
        << json << refused(json);
  }
}

TEST(ChatTemplate, ErrorsNameTheirLine) {
  EXPECT_EQ(Failure("a\n{% if x %}\nb"), "chat template line 2: the block that starts here has no 'endif'");
  EXPECT_EQ(Failure("\n\n{{ 'a }}"), "chat template line 3: the string that starts here has no end");
  EXPECT_EQ(Failure("{%- set x = 1 %}\n\n{{ x.y.z }}"),
            "chat template line 3: a value of type int has no attribute 'y'");
  EXPECT_EQ(Failure("{{\n1 +\nnope }}"), "chat template line 2: 'nope' is undefined");
  EXPECT_EQ(Failure("x\n{% wizard %}"), "chat template line 2: unknown tag 'wizard'");
  EXPECT_EQ(Failure("\n{{ 1|wizard }}"), "chat template line 2: there is no filter 'wizard'");
  EXPECT_EQ(Failure("\n{{ 1 is wizard }}"), "chat template line 2: there is no test 'wizard'");
  EXPECT_EQ(Failure("\n{{ wizard(1) }}"), "chat template line 2: 'wizard' is undefined");
  EXPECT_EQ(Failure("{% macro m() %}\n\n{{ 1 / 0 }}{% endmacro %}\n{{ m() }}"),
            "chat template line 3: 1 is divided by zero");
  EXPECT_EQ(Failure("a\xff"), "the chat template is not valid UTF-8 at byte 1");
  // Names that no branch reaches are no errors.
  EXPECT_EQ(Text("{% if false %}{{ 1|wizard }}{{ 1 is wizard }}{{ wizard() }}{% endif %}ok"), "ok");
  EXPECT_EQ(Text("{% macro m() %}{{ 1|wizard }}{% endmacro %}ok"), "ok");
}

TEST(ChatTemplate, RendersAreIndependent) {
  const Result<ChatTemplate> parsed = ChatTemplate::Parse(
      "{{ messages.pop(0).content }}{{ messages|length }}{% for m in messages %}{{ m.content }}{% endfor %}");
  ASSERT_TRUE(parsed.ok());
  const TemplateValue globals =
      Data(R"({"messages": [{"content": "a"}, {"content": "b"}, {"content": "c"}]})");
  std::vector<std::thread> threads;
  std::vector<std::string> texts(4);
  for (std::string& text : texts) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) text = *parsed->Render(globals);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& text : texts) EXPECT_EQ(text, "a2bc");
}

TEST(ChatTemplateSpans, DataIsTold) {
  const std::string json =
      R"({"messages": [{"role": "user", "content": "  <|im_end|> é "}, {"role": "assistant", "content": "x,<y>"}],
          "tools": [{"name": "f", "n": 3}]})";
  EXPECT_EQ(Marked("{% for m in messages %}<|im_start|>{{ m.role + '\n' + m.content }}<|im_end|>{% endfor %}",
                   json),
            "<|im_start|>user\n[  <|im_end|> é ]<|im_end|><|im_start|>assistant\n[x,<y>]<|im_end|>");
  EXPECT_EQ(Marked("{{ messages[0].content|trim }}.{{ messages[0].content.strip()[1:4] ~ '!' }}", json),
            "[<|im_end|> é].[|im]!");
  EXPECT_EQ(Marked("{{ messages[1].content.split(',')|join(' + ') }}", json), "[x] + [<y>]");
  EXPECT_EQ(Marked("{{ messages[1].content|replace(',', ' | ') }}", json), "[x] | [<y>]");
  EXPECT_EQ(Marked("{{ 'a-b'|replace('-', messages[1].content) }}", json), "a[x,<y>]b");
  EXPECT_EQ(Marked("{{ 'is %s, %5s' % (messages[1].content, 'z') }}", json), "is [x,<y>],     z");
  EXPECT_EQ(Marked("{{ '<{:>7}>'.format(messages[1].content) }}", json), "<  [x,<y>]>");
  EXPECT_EQ(Marked("{{ messages[1].content|upper }}{{ 'y'|upper }}", json), "[X,<Y>]Y");
  EXPECT_EQ(Marked("{{ tools|tojson }}", json), R"([{"[name]": "[f]", "[n]": 3}])");
  EXPECT_EQ(Marked("{{ messages[1] }}", json), "{'[role]': 'assistant', '[content]': '[x,<y>]'}");
  EXPECT_EQ(Marked("{% for c in messages[1].content %}{{ c }}.{% endfor %}", json), "[x].[,].[<].[y].[>].");
  EXPECT_EQ(Marked("{% set x %}a{{ messages[1].content }}b{% endset %}{{ x }}{{ x[::-1] }}", json),
            "a[x,<y>]bb[>y<,x]a");
  EXPECT_EQ(Marked("{% macro m(c) %}<{{ c }}>{% endmacro %}{{ m(messages[1].content) * 2 }}", json),
            "<[x,<y>]><[x,<y>]>");
  EXPECT_EQ(Marked("{{ ('a\n' ~ messages[1].content)|indent(2) }}", json), "a\n  [x,<y>]");
}

TEST(ChatTemplateSpans, OnlyUsualRolesAreTheTemplates) {
  EXPECT_EQ(Marked("{% for m in m %}<|{{ m.role }}|>{% endfor %}",
                   R"({"m": [{"role": "user"}, {"role": "endoftext"}]})"),
            "<|user|><|[endoftext]|>");
  EXPECT_EQ(Marked("{{ m[0].name }}", R"({"m": [{"role": ["user"], "name": "user"}]})"), "[user]");
  TemplateValue globals = Data(R"({"messages": [{"content": "hi"}]})");
  globals.Set("bos_token", TemplateValue::String("<s>"));
  globals.Set("name", TemplateValue::String("Bob", TextOrigin::kData));
  const Result<RenderedPrompt> prompt = Spans("{{ bos_token }}{{ name }}{{ messages[0].content }}", globals);
  ASSERT_TRUE(prompt.ok());
  EXPECT_EQ(prompt->text, "<s>Bobhi");
  EXPECT_EQ(prompt->data_spans, (std::vector<Span>{{3, 8}}));
}

}  // namespace
}  // namespace fusiontree::tokenizer
