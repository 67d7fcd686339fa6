// From text to training rows by the commands a user would type: tokenizer train, data tokenize, stats and
// inspect.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/philox.h"
#include "cli/command.h"

namespace fusiontree::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct Outcome {
  int code;
  std::string out, err;
};

class DataCommands : public testing::Test {
 protected:
  DataCommands() {
    std::string pattern = fs::temp_directory_path() / "fusiontree-data-XXXXXX";
    EXPECT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  ~DataCommands() override { fs::remove_all(folder_); }

  std::string Path(const std::string& name) const { return folder_ + "/" + name; }
  void Write(const std::string& name, const std::string& bytes) const {
    fs::create_directories(fs::path(Path(name)).parent_path());
    std::ofstream(Path(name), std::ios::binary) << bytes;
  }
  std::string Slurp(const std::string& name) const {
    std::ifstream file(Path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  // Arguments that begin with @ are paths in the test's folder.
  Outcome Call(std::vector<std::string> arguments) const {
    for (std::string& argument : arguments)
      if (argument.starts_with("@")) argument = Path(argument.substr(1));
    std::vector<std::unique_ptr<Command>> commands;
    commands.push_back(NewTokenizerTrain());
    commands.push_back(NewDataTokenize());
    commands.push_back(NewDataStats());
    commands.push_back(NewDataInspect());
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    Outcome outcome;
    outcome.code = RunProgram(arguments, commands, nullptr);
    outcome.out = testing::internal::GetCapturedStdout();
    outcome.err = testing::internal::GetCapturedStderr();
    return outcome;
  }
  void ExpectBadInput(const std::vector<std::string>& arguments, const std::string& part) const {
    const Outcome o = Call(arguments);
    EXPECT_EQ(o.code, 2) << part << "\n" << o.err;
    EXPECT_EQ(o.out, "");
    EXPECT_EQ(std::count(o.err.begin(), o.err.end(), '\n'), 1) << o.err;
    EXPECT_NE(o.err.find(part), std::string::npos) << "expected: " << part << "\ngot: " << o.err;
  }
  // A few hundred paragraphs of a small language.
  void WriteText() const {
    const char* const words[] = {"the",  "keeper", "climbed", "stairs", "lamp",
                                 "room", "and",    "sea",     "storm",  "again"};
    std::string text;
    for (uint64_t p = 0; p < 400; ++p) {
      for (uint64_t w = 0; w < 30; ++w) text += std::string(words[base::Philox(p, w, 0)[0] % 10]) + " ";
      text += fmt::format("{}.\n\n", p);
    }
    Write("texts/a.txt", text);
    Write(
        "texts/chats.jsonl",
        R"({"messages": [{"role": "user", "content": "the sea"}, {"role": "assistant", "content": "again"}]})"
        "\n");
    Write("chat.jinja",
          "{% for m in messages %}<|turn|>{{ m['role'] }} {{ m['content'] }}<|turn|>{% endfor %}"
          "{% if add_generation_prompt %}<|turn|>assistant {% endif %}");
  }
  Outcome Train(const std::string& output, const std::string& threads) const {
    return Call({"tokenizer", "train", "@texts", "--documents", "paragraphs", "--vocab-size", "300", "-o",
                 output, "--threads", threads, "--special-token", "<|end|>", "--special-token", "<|turn|>",
                 "--chat-template", "@chat.jinja"});
  }

 private:
  std::string folder_;
};

TEST_F(DataCommands, FromTextToRows) {
  WriteText();
  const Outcome train = Train("@tok", "2");
  ASSERT_EQ(train.code, 0) << train.err;
  EXPECT_NE(train.out.find("300 tokens from 6"), std::string::npos) << train.out;
  ASSERT_EQ(Train("@tok1", "1").code, 0);
  EXPECT_EQ(Slurp("tok/tokenizer.json"), Slurp("tok1/tokenizer.json"));

  for (const char* threads : {"1", "3"}) {
    const Outcome o =
        Call({"data", "tokenize", "@texts", "--documents", "paragraphs", "--tokenizer", "@tok", "-o",
              std::string("@shards") + threads, "--held-out", "0.1", "--threads", threads, "--json"});
    ASSERT_EQ(o.code, 0) << o.err;
    const json written = json::parse(o.out);
    EXPECT_EQ(written["train"]["documents"].get<int>() + written["held_out"]["documents"].get<int>(), 401);
    EXPECT_EQ(written["vocab_size"], 300);
  }
  for (const char* name :
       {"index.json", "train-00000.tokens", "held_out-00000.tokens", "tokenizer/tokenizer.json"})
    EXPECT_EQ(Slurp(std::string("shards1/") + name), Slurp(std::string("shards3/") + name)) << name;

  const Outcome stats = Call({"data", "stats", "@shards1", "--ngram", "--json"});
  ASSERT_EQ(stats.code, 0) << stats.err;
  const json held = json::parse(stats.out);
  EXPECT_GT(held["train"]["targets"], 1000);
  // Ten words as likely as each other: log2(10) bits a word of 5.5 bytes, and a little for the numbers.
  EXPECT_GT(held["ngram_bits_per_byte"], 0.55);
  EXPECT_LT(held["ngram_bits_per_byte"], 1.0);
  EXPECT_NE(Call({"data", "stats", "@shards1"}).out.find("tokens of the longest"), std::string::npos);

  const Outcome row = Call({"data", "inspect", "@shards1", "--row", "2", "--length", "100", "--seed", "5"});
  ASSERT_EQ(row.code, 0) << row.err;
  EXPECT_EQ(row.out.find("row 2 of 100 tokens, seed 5: from token 200; "), 0u) << row.out;
  EXPECT_NE(row.out.find("keeper"), std::string::npos) << row.out;
  EXPECT_NE(row.out.find("<|end|>\n---"), std::string::npos) << row.out;
  const auto ids = [&](const char* seed) {
    return json::parse(
        Call({"data", "inspect", "@shards1", "--length", "50", "--seed", seed, "--json"}).out)["ids"];
  };
  EXPECT_EQ(ids("5").size(), 50u);
  EXPECT_EQ(ids("5"), ids("5"));
  EXPECT_NE(ids("5"), ids("6"));
}

TEST_F(DataCommands, InspectShowsWhatIsLearntOfAChat) {
  WriteText();
  ASSERT_EQ(Train("@tok", "1").code, 0);
  const Outcome o = Call(
      {"data", "tokenize", "@texts/chats.jsonl", "--tokenizer", "@tok", "-o", "@shards", "--held-out", "0"});
  ASSERT_EQ(o.code, 0) << o.err;
  const Outcome row = Call({"data", "inspect", "@shards", "--length", "19"});
  EXPECT_NE(row.out.find("read:   \"<|turn|>user the sea<|turn|><|turn|>assistant\"\n"), std::string::npos)
      << row.out;
  EXPECT_NE(row.out.find("learnt: \" again<|turn|><|end|>\"\n"), std::string::npos) << row.out;
}

TEST_F(DataCommands, InvalidDocumentsStopOrAreCounted) {
  WriteText();
  Write("bad.jsonl", "{\"text\": \"a b c\"}\n{\"txt\": \"d\"}\n");
  ASSERT_EQ(Train("@tok", "1").code, 0);
  ExpectBadInput({"tokenizer", "train", "@bad.jsonl", "-o", "@tok2"},
                 "bad.jsonl line 2: it has neither \"text\"");
  ExpectBadInput({"data", "tokenize", "@bad.jsonl", "--tokenizer", "@tok", "-o", "@shards"},
                 "bad.jsonl line 2");
  EXPECT_FALSE(fs::exists(Path("shards")));
  const Outcome o = Call({"data", "tokenize", "@bad.jsonl", "--tokenizer", "@tok", "-o", "@shards",
                          "--held-out", "0", "--skip-invalid", "--json"});
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_NE(o.err.find("left out: " + Path("bad.jsonl") + " line 2"), std::string::npos) << o.err;
  EXPECT_EQ(json::parse(o.out)["skipped_documents"], 1);
  EXPECT_EQ(Call({"data", "tokenize", "@bad.jsonl", "--tokenizer", "@tok", "-o", "@other", "--held-out", "0",
                  "--skip-invalid", "--text-key", "txt"})
                .code,
            0);
}

TEST_F(DataCommands, BadUseIsOneSentenceAndTwo) {
  WriteText();
  ASSERT_EQ(Train("@tok", "1").code, 0);
  ASSERT_EQ(
      Call({"data", "tokenize", "@texts", "--tokenizer", "@tok", "-o", "@shards", "--held-out", "0"}).code,
      0);
  Write("empty.txt", "");
  fs::create_directories(Path("nothing"));
  ExpectBadInput({"tokenizer", "train", "@texts"}, "-o FOLDER is missing");
  ExpectBadInput({"tokenizer", "train", "-o", "@x"}, "PATHS is missing");
  ExpectBadInput({"tokenizer", "train", "@nothing", "-o", "@x"}, "has no file to read");
  ExpectBadInput({"tokenizer", "train", "@empty.txt", "-o", "@x"}, "no text to learn from");
  ExpectBadInput({"tokenizer", "train", "@texts", "-o", "@tok"}, "nothing is overwritten");
  ExpectBadInput({"tokenizer", "train", "@texts", "-o", "@x", "--vocab-size", "100"}, "--vocab-size");
  ExpectBadInput({"tokenizer", "train", "@texts", "-o", "@x", "--eos", "</s>"}, "none of the special tokens");
  ExpectBadInput({"tokenizer", "train", "@texts", "-o", "@x", "--separator", "-", "--documents", "lines"},
                 "exclude");
  ExpectBadInput({"data", "tokenize", "@texts", "-o", "@x"}, "--tokenizer MODEL is missing");
  ExpectBadInput({"data", "tokenize", "@texts", "-o", "@x", "--tokenizer", "@nothing"}, "nothing");
  ExpectBadInput({"data", "tokenize", "@texts", "-o", "@x", "--tokenizer", "@tok", "--held-out", "1"},
                 "--held-out");
  ExpectBadInput({"data", "tokenize", "@texts", "-o", "@shards", "--tokenizer", "@tok"}, "there already");
  ExpectBadInput({"data", "stats", "@nothing"}, "index.json");
  ExpectBadInput({"data", "stats", "@shards", "--ngram"}, "no text is held out");
  ExpectBadInput({"data", "inspect", "@shards", "--row", "1000000000"}, "100 epochs");
  ExpectBadInput({"data", "inspect", "@shards", "--split", "held-out"}, "no documents are held out");
  fs::remove_all(Path("shards/tokenizer"));
  ExpectBadInput({"data", "inspect", "@shards"}, "tokenizer");
  fs::create_directories(Path("other"));
  ASSERT_EQ(Call({"tokenizer", "train", "@texts/a.txt", "-o", "@other", "--vocab-size", "300"}).code, 0);
  ExpectBadInput({"data", "inspect", "@shards", "--tokenizer", "@other"}, "not the one that made the shards");
  EXPECT_EQ(Call({"data", "inspect", "@shards", "--tokenizer", "@tok"}).code, 0);
  fs::resize_file(Path("shards/train-00000.tokens"), 100);
  ExpectBadInput({"data", "stats", "@shards"}, "has 100 bytes");
  EXPECT_FALSE(fs::exists(Path("x")));
}

}  // namespace
}  // namespace fusiontree::cli
