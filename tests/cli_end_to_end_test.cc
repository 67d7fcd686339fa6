// The program from outside: what it prints, its exit codes, its sentences.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "tiny_model.h"

namespace fusiontree {
namespace {

namespace fs = std::filesystem;

std::string Slurp(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

struct Outcome {
  int code = -1;
  std::string out, err;
};

class Cli : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    std::string pattern = fs::temp_directory_path() / "fusiontree-cli-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = new std::string(pattern);
    WriteTinyModel(Path("tiny"));
  }
  static void TearDownTestSuite() {
    fs::remove_all(*folder_);
    delete folder_;
  }

  static std::string Path(const std::string& name) { return *folder_ + "/" + name; }

  // Arguments as a shell would take them; `tiny` in them stands for the tiny model's folder.
  static Outcome Call(std::string arguments, const std::string& input = "") {
    for (size_t at; (at = arguments.find("@")) != std::string::npos;)
      arguments.replace(at, 1, *folder_ + "/");
    WriteText(Path("stdin"), input);
    const std::string command =
        "cd " + *folder_ + " && " + FUSIONTREE_BINARY + " " + arguments + " < stdin > stdout 2> stderr";
    const int status = std::system(command.c_str());
    Outcome outcome;
    outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    outcome.out = Slurp(Path("stdout"));
    outcome.err = Slurp(Path("stderr"));
    return outcome;
  }

  // Exit code 2, nothing on stdout, one line on stderr that holds `part`.
  static void ExpectBadInput(const std::string& arguments, const std::string& part,
                             const std::string& input = "") {
    const Outcome o = Call(arguments, input);
    EXPECT_EQ(o.code, 2) << arguments << "\n" << o.err;
    EXPECT_EQ(o.out, "") << arguments;
    EXPECT_EQ(std::count(o.err.begin(), o.err.end(), '\n'), 1) << arguments << "\n" << o.err;
    EXPECT_NE(o.err.find(part), std::string::npos)
        << arguments << "\nexpected: " << part << "\ngot: " << o.err;
  }

  static std::string* folder_;
};
std::string* Cli::folder_ = nullptr;

#ifdef FUSIONTREE_WITHOUT_MPI
// Several ranks of a build that has none: rank 0 alone says so.
TEST_F(Cli, UnderMpirunRankZeroSaysWhatIsMissing) {
  setenv("OMPI_COMM_WORLD_SIZE", "2", 1);
  setenv("OMPI_COMM_WORLD_RANK", "0", 1);
  ExpectBadInput("generate @tiny -p a", "this program was built without MPI");
  setenv("OMPI_COMM_WORLD_RANK", "1", 1);
  const Outcome o = Call("generate @tiny -p a");
  EXPECT_EQ(o.code, 2);
  EXPECT_EQ(o.out + o.err, "");
  unsetenv("OMPI_COMM_WORLD_SIZE");
  unsetenv("OMPI_COMM_WORLD_RANK");
}
#endif

TEST_F(Cli, GenerateGivesTheSameTextWhateverTheThreadsAndTheWay) {
  const Outcome first = Call("generate @tiny -p 'Hello there' -n 24 --threads 1");
  ASSERT_EQ(first.code, 0) << first.err;
  EXPECT_GT(first.out.size(), 4u);
  EXPECT_NE(first.err.find("tok/s"), std::string::npos);
  for (const char* arguments : {"generate @tiny -p 'Hello there' -n 24 --threads 3",
                                "generate @tiny -p 'Hello there' -n 24 --chunk 1"})
    EXPECT_EQ(Call(arguments).out, first.out) << arguments;
  EXPECT_EQ(Call("generate @tiny -n 24", "Hello there").out, first.out);
  WriteText(Path("prompt.txt"), "Hello there");
  EXPECT_EQ(Call("generate @tiny -f @prompt.txt -n 24").out, first.out);
}

TEST_F(Cli, SeedsDecideSampledTextAloneAndInABatch) {
  const Outcome a = Call("generate @tiny -p abc -n 16 --temperature 1 --seed 1 --json");
  const Outcome b = Call("generate @tiny -p abc -n 16 --temperature 1 --seed 2 --json");
  ASSERT_EQ(a.code, 0) << a.err;
  EXPECT_NE(a.out, b.out);
  WriteText(Path("prompts.jsonl"),
            "{\"prompt\": \"abc\", \"seed\": 1, \"id\": \"first\"}\n{\"prompt\": \"a longer prompt than the "
            "first\"}\n"
            "{\"prompt\": \"abc\", \"seed\": 2}\n");
  const Outcome many = Call("generate @tiny --prompts @prompts.jsonl -n 16 --temperature 1");
  ASSERT_EQ(many.code, 0) << many.err;
  std::istringstream lines(many.out);
  std::string one, two, three;
  std::getline(lines, one);
  std::getline(lines, two);
  std::getline(lines, three);
  const auto text_on = [](const std::string& json) { return json.substr(json.find("\"text\"")); };
  EXPECT_EQ(text_on(one) + "\n", text_on(a.out));
  EXPECT_EQ(text_on(three) + "\n", text_on(b.out));
  EXPECT_EQ(one.find("{\"index\": 0, \"id\": \"first\", "), 0u) << one;
}

TEST_F(Cli, StopStringsCutExactly) {
  const std::string whole = Call("generate @tiny -p 'Hello there' -n 24").out;
  // A stop of two ASCII letters out of the middle of what the model writes.
  size_t at = 0;
  for (size_t i = 3; i + 2 < whole.size() && at == 0; ++i)
    if (std::isalnum(static_cast<unsigned char>(whole[i])) &&
        std::isalnum(static_cast<unsigned char>(whole[i + 1])))
      at = i;
  if (at == 0) GTEST_SKIP() << "the tiny model wrote no two letters";
  const std::string stop = whole.substr(at, 2);
  const Outcome cut = Call("generate @tiny -p 'Hello there' -n 24 --stop '" + stop + "'");
  EXPECT_EQ(cut.code, 0) << cut.err;
  EXPECT_EQ(cut.out, whole.substr(0, whole.find(stop)) + "\n");
}

TEST_F(Cli, ChatKeepsTheConversationAndReusesItsCache) {
  const Outcome o = Call("chat @tiny --system 'be brief' -n 8 --verbose",
                         "hello\nand again\n/save chat.json\n/reset\nhello\n");
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_NE(o.err.find("0 of them from the cache"), std::string::npos) << o.err;
  // The second turn finds the first one there.
  const size_t second = o.err.find("[prompt", o.err.find("[prompt") + 1);
  ASSERT_NE(second, std::string::npos) << o.err;
  EXPECT_EQ(o.err.substr(second, o.err.find('\n', second) - second).find(", 0 of them"), std::string::npos)
      << o.err;
  const std::string saved = Slurp(Path("chat.json"));
  for (const char* part : {"\"system\"", "be brief", "\"user\"", "and again", "\"assistant\""})
    EXPECT_NE(saved.find(part), std::string::npos) << part;
  // After /reset the first answer comes again.
  EXPECT_EQ(o.out.substr(0, o.out.find('\n')),
            o.out.substr(o.out.rfind('\n', o.out.size() - 2) + 1, o.out.find('\n')));
  const Outcome loaded = Call("chat @tiny -n 4 --verbose", "/load chat.json\ngo on\n");
  EXPECT_EQ(loaded.code, 0) << loaded.err;
}

TEST_F(Cli, LogitsAreTheSameBytesWhateverTheSchedule) {
  WriteText(Path("ids.json"), "[[1, 2, 3, 4, 5, 6, 7, 8, 9], [250, 12], [77]]");
  WriteText(Path("others.json"), "[9, 9, 9, 9]");
  ASSERT_EQ(Call("logits @tiny --ids @ids.json --hidden -o a.st").code, 0) << Slurp(Path("stderr"));
  const std::string whole = Slurp(Path("a.st"));
  EXPECT_GT(whole.size(), 12u * 260 * 4);
  for (const char* arguments : {"--chunk 1", "--chunk 4 --threads 3", "--batch-with @others.json",
                                "--chunk 2 --batch-with @others.json"}) {
    const Outcome o = Call("logits @tiny --ids @ids.json --hidden -o b.st " + std::string(arguments));
    EXPECT_EQ(o.code, 0) << o.err;
    EXPECT_TRUE(Slurp(Path("b.st")) == whole) << arguments;
  }
  EXPECT_EQ(Call("logits @tiny --ids - -o c.st", "[1, 2, 3]").code, 0);
  EXPECT_EQ(Call("logits @tiny -p 'abc' -o d.st").code, 0);
  // verify reads what logits wrote, of one text and of several.
  EXPECT_EQ(Call("logits @tiny --ids - --hidden -o many.st", "[[1, 2, 3], [4, 5]]").code, 0);
  for (const char* dump : {"a.st", "many.st"}) {
    const Outcome o = Call("verify @tiny --against @" + std::string(dump));
    EXPECT_EQ(o.code, 0) << o.err << o.out;
  }
  EXPECT_NE(Call("verify @tiny --against @many.st").out.find("hidden_1_0"), std::string::npos);
}

TEST_F(Cli, VerifyInspectBenchAndTokenizerRun) {
  const Outcome verify = Call("verify @tiny");
  EXPECT_EQ(verify.code, 0) << verify.out << verify.err;
  const Outcome inspect = Call("inspect @tiny --context 100 --batch 2");
  EXPECT_EQ(inspect.code, 0) << inspect.err;
  for (const char* part : {"llama", "model.embed_tokens.weight", "[260, 64]",
                           "memory for 2 sequences of 100 tokens", "chat template", "ranks"})
    EXPECT_NE(inspect.out.find(part), std::string::npos) << part << "\n" << inspect.out;
  EXPECT_EQ(Call("inspect @tiny --json").out.find("{\n"), 0u);
  const Outcome encode = Call("tokenizer encode @tiny --json 'a<|end|>'");
  EXPECT_EQ(encode.out, "[97, 60, 124, 101, 110, 100, 124, 62]\n") << encode.err;
  EXPECT_EQ(Call("tokenizer encode @tiny --json --special 'a<|end|>'").out, "[97, 256]\n");
  EXPECT_EQ(Call("tokenizer decode @tiny 97 256 98").out, "ab\n");
  EXPECT_EQ(Call("tokenizer decode @tiny --special", "[97, 256]").out, "a<|end|>\n");
  WriteText(Path("messages.json"), R"([{"role": "user", "content": "a<|end|>"}])");
  const Outcome render = Call("tokenizer render @tiny --messages @messages.json --add-generation-prompt");
  EXPECT_EQ(render.out, "<|user|>a<|end|><|end|><|assistant|>") << render.err;
  const Outcome ids = Call("tokenizer render @tiny --messages @messages.json --json");
  EXPECT_NE(ids.out.find("\"ids\": [257, 97, 60, 124, 101, 110, 100, 124, 62, 256]"), std::string::npos)
      << ids.out;
}

TEST_F(Cli, BadInputIsOneSentenceAndExitCodeTwo) {
  fs::create_directories(Path("empty"));
  WriteTinyModel(Path("no_tokenizer"), /*with_tokenizer=*/false);
  WriteTinyModel(Path("no_template"), true, /*with_template=*/false);
  fs::create_directories(Path("pickle"));
  WriteText(Path("pickle/pytorch_model.bin"), "PK");
  WriteText(Path("pickle/config.json"), "{}");
  WriteText(Path("model.bin"), "PK");
  WriteText(Path("bad.json"), "[1, 2");
  WriteText(Path("bad.jsonl"), "{\"prompt\": \"a\", \"temprature\": 1}\n");

  ExpectBadInput("generate", "MODEL is missing");
  ExpectBadInput("generate @nowhere -p a", "nowhere");
  ExpectBadInput("generate @empty -p a", "empty");
  ExpectBadInput("generate @no_tokenizer -p a", "tokenizer.json");
  ExpectBadInput("generate @pickle -p a", "safetensors");
  ExpectBadInput("generate @model.bin -p a", "model.bin");
  ExpectBadInput("generate @tiny -p a --threads 100000", "--threads");
  ExpectBadInput("generate @tiny -p a --max-token 3", "did you mean --max-tokens?");
  ExpectBadInput("generate @tiny -p a --isa sse", "--isa");
  ExpectBadInput("generate @tiny -p a --temperature -1", "--temperature");
  ExpectBadInput("generate @tiny -p a -f b", "exclude");
  ExpectBadInput("generate @tiny -p a --stop ''", "stop string");
  ExpectBadInput("generate @tiny -p ''", "empty");
  ExpectBadInput("generate @tiny -f @nothing.txt", "nothing.txt");
  ExpectBadInput("generate @tiny", "256", std::string(1000, 'a'));  // longer than the context
  ExpectBadInput("generate @tiny", "UTF-8", "a\xff");
  ExpectBadInput("generate @tiny --prompts @bad.jsonl", "line 1");
  ExpectBadInput("chat @no_template", "chat template", "hi\n");
  ExpectBadInput("chat @tiny", "256", std::string(1000, 'a') + "\n");
  ExpectBadInput("logits @tiny -p a", "-o FILE");
  ExpectBadInput("logits @tiny -o x.st", "either");
  ExpectBadInput("logits @tiny --ids @bad.json -o x.st", "bad.json");
  ExpectBadInput("logits @tiny --ids - -o x.st", "260", "[1, 260]");
  ExpectBadInput(
      "logits @tiny --ids - -o x.st", "256", "[" + [] {
        std::string ids = "1";
        for (int i = 0; i < 300; ++i) ids += ",1";
        return ids;
      }() + "]");
  ExpectBadInput("logits @tiny --ids - -o @no/such/folder/x.st", "no/such/folder", "[1]");
  EXPECT_FALSE(fs::exists(Path("x.st")));
  ExpectBadInput("verify @empty", "empty");
  ExpectBadInput("verify @tiny --against @bad.json", "bad.json");
  ExpectBadInput("verify @tiny --full", "--invariance");
  ExpectBadInput("inspect @pickle", "safetensors");
  ExpectBadInput("inspect @tiny --context 1000", "256");
  ExpectBadInput("bench @tiny --seconds 0", "--seconds");
  ExpectBadInput("bench @tiny --decode 1,x", "--decode must be numbers from 1 to 1024");
  ExpectBadInput("tokenizer encode @no_tokenizer a", "tokenizer.json");
  ExpectBadInput("tokenizer decode @tiny 300", "300");
  ExpectBadInput("tokenizer render @tiny", "--messages");
  ExpectBadInput("tokenizer render @tiny --messages -", "JSON", "[{");
  ExpectBadInput("tokenizer render @tiny --messages -", "role", "[{\"content\": \"a\"}]");
  ExpectBadInput("tokenizer render @tiny --messages - --set x", "KEY=JSON", "[]");
  ExpectBadInput("speak", "there is no command 'speak'");
}

TEST_F(Cli, CtrlCEndsAGenerationWithWhatIsThere) {
  int out[2];
  ASSERT_EQ(pipe(out), 0);
  const std::string model = Path("tiny");
  const pid_t child = fork();
  if (child == 0) {
    dup2(out[1], STDOUT_FILENO);
    close(out[0]);
    close(out[1]);
    freopen("/dev/null", "w", stderr);
    // Stop ids end no text here: 200 tokens at one thread take long enough to be interrupted.
    execl(FUSIONTREE_BINARY, "fusiontree", "generate", model.c_str(), "-p", "Hello", "-n", "240", "--threads",
          "1", "--isa", "ref", nullptr);
    _exit(99);
  }
  close(out[1]);
  char byte;
  ASSERT_EQ(read(out[0], &byte, 1), 1);  // it writes
  kill(child, SIGINT);
  std::string text(1, byte);
  std::array<char, 4096> buffer;
  for (ssize_t n; (n = read(out[0], buffer.data(), buffer.size())) > 0;)
    text.append(buffer.data(), static_cast<size_t>(n));
  close(out[0]);
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  // It may have been done already when the signal came.
  EXPECT_TRUE(WEXITSTATUS(status) == 130 || WEXITSTATUS(status) == 0) << status;
  EXPECT_EQ(text.back(), '\n');
}

}  // namespace
}  // namespace fusiontree
