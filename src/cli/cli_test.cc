#include <gtest/gtest.h>

#include "cli/command.h"
#include "cli/conversation.h"
#include "cli/files.h"
#include "cli/prompts.h"
#include "cli/sampling.h"

namespace fusiontree::cli {
namespace {

// A command that records what it was given.
struct Given {
  std::string model;
  std::vector<std::string> texts, stops;
  std::optional<std::string> prompt;
  std::string isa = "auto";
  int64_t threads = 0;
  std::optional<double> temperature;
  bool json = false, ran = false;
};

class Probe : public Command {
 public:
  Probe(std::string name, Given* given, base::Status result = base::OkStatus())
      : name_(std::move(name)), given_(given), result_(std::move(result)) {}
  std::string Name() const override { return name_; }
  std::string Summary() const override { return "for tests"; }
  std::string Example() const override { return "  fusiontree probe"; }
  void Declare(Options& options) override {
    options.Argument("MODEL", "a model", &given_->model);
    options.Arguments("TEXT", "texts", &given_->texts);
    options.Text("-p,--prompt", "TEXT", "a prompt", &given_->prompt);
    options.Texts("--stop", "TEXT", "stops", &given_->stops);
    options.Choice("--isa", {"auto", "avx2"}, "instruction set", &given_->isa);
    options.Integer("--threads", "threads", 1, 256, &given_->threads);
    options.Number("--temperature", "heat", 0, 100, &given_->temperature);
    options.Flag("--json", "JSON", &given_->json);
  }
  base::Status Run() override {
    given_->ran = true;
    return result_;
  }

 private:
  std::string name_;
  Given* given_;
  base::Status result_;
};

struct Outcome {
  int code;
  std::string out, err;
  Given given;
};

Outcome Call(std::vector<std::string> arguments, base::Status result = base::OkStatus(),
             const std::string& name = "probe") {
  Outcome outcome;
  std::vector<std::unique_ptr<Command>> commands;
  commands.push_back(std::make_unique<Probe>(name, &outcome.given, std::move(result)));
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  outcome.code = RunProgram(arguments, commands, nullptr);
  outcome.out = testing::internal::GetCapturedStdout();
  outcome.err = testing::internal::GetCapturedStderr();
  return outcome;
}

TEST(Program, TakesValuesAsTyped) {
  const Outcome o = Call({"probe", "m", "-p", "[a,b]", "--stop", "[x,y]", "--stop", "", "--isa=avx2",
                          "--threads", "2", "--temperature", "0.5", "--json", "[INST]", "{}"});
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(o.given.model, "m");
  EXPECT_EQ(o.given.prompt, "[a,b]");
  EXPECT_EQ(o.given.stops, (std::vector<std::string>{"[x,y]", ""}));
  EXPECT_EQ(o.given.texts, (std::vector<std::string>{"[INST]", "{}"}));
  EXPECT_EQ(o.given.isa, "avx2");
  EXPECT_EQ(o.given.threads, 2);
  EXPECT_EQ(o.given.temperature, 0.5);
  EXPECT_TRUE(o.given.json);
}

TEST(Program, APromptMayBeginWithADash) {
  EXPECT_EQ(Call({"probe", "m", "-p", "--well"}).given.prompt, "--well");
  EXPECT_EQ(Call({"probe", "m", "--", "-5"}).given.texts, std::vector<std::string>{"-5"});
}

TEST(Program, BadUseIsOneSentenceAndTwo) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"probe"}, "MODEL"},
      {{"probe", "m", "--nonsense"}, "--nonsense"},
      {{"probe", "m", "--threads", "0"}, "--threads must be a whole number from 1 to 256, not '0'"},
      {{"probe", "m", "--threads", "010x"}, "not '010x'"},
      {{"probe", "m", "--threads", "99999999999999999999"}, "from 1 to 256"},
      {{"probe", "m", "--isa", "sse"}, "--isa must be one of auto, avx2, not 'sse'"},
      {{"probe", "m", "--temperature", "nan"}, "--temperature must be a number from 0 to 100, not 'nan'"},
      {{"probe", "m", "--temperature", "1e999"}, "1e999"},
      {{"probe", "m", "--threads"}, "--threads"},
      {{"nothing"}, "nothing"},
      {{"--nothing"}, "--nothing"},
  };
  for (const auto& [arguments, expected] : cases) {
    const Outcome o = Call(arguments);
    EXPECT_EQ(o.code, 2) << expected;
    EXPECT_NE(o.err.find(expected), std::string::npos) << o.err;
    EXPECT_EQ(std::count(o.err.begin(), o.err.end(), '\n'), 1) << o.err;
    EXPECT_EQ(o.out, "");
    EXPECT_FALSE(o.given.ran);
  }
  EXPECT_EQ(Call({}).code, 2);
}

TEST(Program, ExitCodesFollowTheStatus) {
  EXPECT_EQ(Call({"probe", "m"}).code, 0);
  EXPECT_EQ(Call({"probe", "m"}, base::Failed("it differs")).code, 1);
  EXPECT_EQ(Call({"probe", "m"}, base::Failed("it differs")).err, "fusiontree probe: it differs\n");
  EXPECT_EQ(Call({"probe", "m"}, base::BadInput("no such file")).code, 2);
  EXPECT_EQ(Call({"probe", "m"}, base::Status(base::ErrorKind::kCancelled, "")).code, 130);
}

TEST(Program, HelpHasAnExampleAndEveryOption) {
  for (const std::string& name : {std::string("probe"), std::string("group probe")}) {
    std::vector<std::string> arguments = {"probe", "--help"};
    if (name != "probe") arguments.insert(arguments.begin(), "group");
    const Outcome o = Call(arguments, base::OkStatus(), name);
    EXPECT_EQ(o.code, 0);
    EXPECT_FALSE(o.given.ran);
    for (const char* part : {"Example:", "fusiontree probe", "--threads", "--isa", "auto|avx2", "MODEL"})
      EXPECT_NE(o.out.find(part), std::string::npos) << part << "\n" << o.out;
  }
}

TEST(IdLists, OneListOrMany) {
  bool nested = true;
  auto one = ParseIdLists("ids", "[1, 2, 3]", &nested);
  ASSERT_TRUE(one.ok());
  EXPECT_FALSE(nested);
  EXPECT_EQ(*one, (std::vector<std::vector<int32_t>>{{1, 2, 3}}));
  auto many = ParseIdLists("ids", "[[1], [2, 3]]", &nested);
  ASSERT_TRUE(many.ok());
  EXPECT_TRUE(nested);
  EXPECT_EQ(*many, (std::vector<std::vector<int32_t>>{{1}, {2, 3}}));
}

TEST(IdLists, WhatIsWrongIsSaid) {
  for (const char* text : {"", "[]", "[[]]", "{}", "[1.5]", "[-1]", "[3000000000]", "[18446744073709551615]",
                           "[\"a\"]", "[1, [2]]", "[[1], 2]", "[[[1]]]", "[1", "nul", "[\"\xff\"]"}) {
    bool nested;
    const auto lists = ParseIdLists("ids", text, &nested);
    ASSERT_FALSE(lists.ok()) << text;
    EXPECT_EQ(lists.status().kind(), base::ErrorKind::kBadInput);
    EXPECT_EQ(lists.status().message().substr(0, 3), "ids");
  }
  bool nested;
  EXPECT_EQ(ParseIdLists("ids", std::string("[1]\0[2]", 7), &nested).status().message(),
            "ids: it is not valid JSON at byte 3: NUL");
  EXPECT_FALSE(ParseIdLists("ids", std::string(100000, '['), &nested).ok());
}

TEST(Sampling, OptionsWinOverTheModelsDefaults) {
  const auto defaults = ParseGenerationConfig(
      R"({"do_sample": true, "temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.1,
          "eos_token_id": [1, 2], "pad_token_id": 0})");
  ASSERT_TRUE(defaults.ok());
  EXPECT_EQ(defaults->eos_ids, (std::vector<int32_t>{1, 2}));
  SamplingFlags flags;
  EXPECT_EQ(Describe(ResolveSampling(flags, *defaults)),
            "temperature 0.7, top-k 20, top-p 0.8, seed 0, repetition penalty 1.1");
  flags.temperature = 0;
  flags.repetition_penalty = 1;
  EXPECT_EQ(Describe(ResolveSampling(flags, *defaults)), "greedy");
}

TEST(Sampling, GreedyUnlessSomebodyAsksForMore) {
  const auto defaults = ParseGenerationConfig(R"({"temperature": 0.6, "eos_token_id": 5})");
  ASSERT_TRUE(defaults.ok());
  SamplingFlags flags;
  EXPECT_EQ(ResolveSampling(flags, *defaults).temperature, 0);
  flags.seed = 3;
  EXPECT_EQ(ResolveSampling(flags, *defaults).temperature, 0.6);
  EXPECT_EQ(ResolveSampling(flags, {}).temperature, 1);
  EXPECT_EQ(ResolveSampling({}, {}).temperature, 0);
}

TEST(Sampling, BrokenDefaultsAreNamed) {
  for (const char* text : {"[]", "{", R"({"temperature": "hot"})", R"({"do_sample": 1})", R"({"top_k": 1.5})",
                           R"({"eos_token_id": -1})", R"({"eos_token_id": ["a"]})"}) {
    const auto defaults = ParseGenerationConfig(text);
    ASSERT_FALSE(defaults.ok()) << text;
    EXPECT_NE(defaults.status().message().find("generation_config.json"), std::string::npos);
  }
}

TEST(Prompts, LinesCarryIdsAndOptionsOfTheirOwn) {
  SamplingFlags flags;
  flags.temperature = 0.5;
  flags.stop = {"END"};
  const auto lines = ParsePrompts(
      "{\"prompt\": \"a\"}\n\n{\"prompt\": \"b\", \"id\": {\"n\": 1}, \"temperature\": 0, \"stop\": \"x\", "
      "\"seed\": 7}\r\n",
      flags);
  ASSERT_TRUE(lines.ok()) << lines.status().message();
  ASSERT_EQ(lines->size(), 2u);
  EXPECT_EQ((*lines)[0].flags.temperature, 0.5);
  EXPECT_EQ((*lines)[0].flags.stop, std::vector<std::string>{"END"});
  EXPECT_EQ((*lines)[1].id_json, "{\"n\":1}");
  EXPECT_EQ((*lines)[1].flags.temperature, 0);
  EXPECT_EQ((*lines)[1].flags.stop, std::vector<std::string>{"x"});
  EXPECT_EQ((*lines)[1].flags.seed, 7);
}

TEST(Prompts, BadLinesAreNamedByNumber) {
  for (const char* line :
       {"{", "[]", "{}", "{\"prompt\": 1}", "{\"prompt\": \"a\", \"max_token\": 3}",
        "{\"prompt\": \"a\", \"temperature\": -1}", "{\"prompt\": \"a\", \"top_k\": 1.5}",
        "{\"prompt\": \"a\", \"seed\": 18446744073709551615}", "{\"prompt\": \"a\", \"stop\": [1]}",
        "{\"prompt\": \"a\", \"max_tokens\": 0}", "{\"prompt\": \"\xff\"}"}) {
    const auto lines = ParsePrompts("{\"prompt\": \"ok\"}\n" + std::string(line), {});
    ASSERT_FALSE(lines.ok()) << line;
    EXPECT_EQ(lines.status().message().substr(0, 6), "line 2") << lines.status().message();
  }
  EXPECT_FALSE(ParsePrompts("\n\n", {}).ok());
}

TEST(Conversation, IsReadBackAsWritten) {
  const std::vector<Message> messages = {{"system", "be \"brief\""}, {"user", "h\xC3\xA9\nllo"}};
  const auto read = ParseConversation("{\"messages\": " + MessagesJson(messages, 2) + "}");
  ASSERT_TRUE(read.ok());
  ASSERT_EQ(read->size(), 2u);
  EXPECT_EQ((*read)[0].content, messages[0].content);
  EXPECT_EQ((*read)[1].content, messages[1].content);
  for (const char* text : {"", "{}", "[1]", "[{\"role\": \"user\"}]", "[{\"role\": 1, \"content\": \"\"}]"})
    EXPECT_FALSE(ParseConversation(text).ok()) << text;
}

}  // namespace
}  // namespace fusiontree::cli
