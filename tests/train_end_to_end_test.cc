// A training run from outside: killed at any moment, on a full disk, stopped by Ctrl-C, on a terminal.
#include <gtest/gtest.h>
#include <pty.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <random>
#include <regex>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace fusiontree {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

std::string Slurp(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
void Write(const fs::path& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

int CodeOf(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

struct Outcome {
  int code = -1;
  std::string out, err;
};

class TrainProgram : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    std::string pattern = fs::temp_directory_path() / "fusiontree-train-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = new fs::path(pattern);
    std::mt19937 random(5);
    const char* const words[] = {"the", "keeper", "climbed", "stairs", "lamp", "room", "and", "sea", "storm"};
    std::string text;
    for (int p = 0; p < 300; ++p) {
      for (int w = 0; w < 20; ++w) text += std::string(words[random() % std::size(words)]) + " ";
      text += "\n\n";
    }
    Write(*folder_ / "text.txt", text);
    Write(*folder_ / "short.txt", "a few words\n");
    Write(*folder_ / "model.json", Model(300));
    Write(*folder_ / "small.json", Model(200));
    Write(*folder_ / "run.yaml", Config());
    ASSERT_EQ(Call("tokenizer train text.txt --documents paragraphs --vocab-size 300 -o tok").code, 0);
    ASSERT_EQ(
        Call("data tokenize text.txt --documents paragraphs --tokenizer tok --held-out 0.05 -o shards").code,
        0);
    ASSERT_EQ(Call("data tokenize short.txt --tokenizer tok --held-out 0 -o short").code, 0);
    const Clock::time_point begin = Clock::now();
    const Outcome whole = Call("train run.yaml -o whole --threads 1");
    ASSERT_EQ(whole.code, 0) << whole.err;
    whole_ = std::chrono::duration_cast<milliseconds>(Clock::now() - begin);
  }
  static void TearDownTestSuite() {
    fs::remove_all(*folder_);
    delete folder_;
  }

  static std::string Model(int vocabulary) {
    return R"({"model_type": "fusiontree", "hidden_size": 32, "num_hidden_layers": 2,
      "num_attention_heads": 4, "num_key_value_heads": 2, "window_size": 8, "global_heads": 2, "gate_rank": 4,
      "max_position_embeddings": 64, "dropout": 0.05, "drop_branch_prob": 0.1, "vocab_size": )" +
           std::to_string(vocabulary) + "}";
  }
  // 60 steps, a checkpoint each 4.
  static std::string Config(const std::string& rate = "0.005") {
    return "model: model.json\nseed: 3\nslots: 2\ndata: [{path: shards}]\n"
           "stages:\n"
           "  - {tokens: 5120, length: 16, batch: 128, state_passing: true}\n"
           "  - {tokens: 2560, length: 32, batch: 128, windows: [4, 8]}\n"
           "optimizer: {learning_rate: " +
           rate +
           ", clip: 0}\nlosses: {balance: 0.01}\n"
           "checkpoint_every: 4\nevaluate_every: 4\nevaluate_tokens: 200\nkeep: 2\nlog_every: 2\n";
  }

  // In the folder, with its output in `name`.out and .err; `prepare` runs in the child.
  static pid_t Start(const std::string& arguments, const std::string& name,
                     const std::function<void()>& prepare = nullptr) {
    const std::string command = "exec " + std::string(FUSIONTREE_BINARY) + " " + arguments + " > " + name +
                                ".out 2> " + name + ".err < /dev/null";
    const pid_t child = fork();
    if (child != 0) return child;
    if (chdir(folder_->c_str()) != 0) _exit(99);
    if (prepare) prepare();
    execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
    _exit(99);
  }
  static Outcome Finish(pid_t child, const std::string& name) {
    if (!WaitFor(
            child, [] { return false; }, std::chrono::minutes(3)))
      kill(child, SIGKILL);  // if it still runs
    int status = 0;
    waitpid(child, &status, 0);
    return {CodeOf(status), Slurp(*folder_ / (name + ".out")), Slurp(*folder_ / (name + ".err"))};
  }
  static Outcome Call(const std::string& arguments, const std::function<void()>& prepare = nullptr) {
    return Finish(Start(arguments, "call", prepare), "call");
  }
  // Exit code 2 and one sentence that holds `part`; nothing is left of a run that was to be made in `made`.
  static void ExpectBadInput(const std::string& arguments, const std::string& part,
                             const std::string& made = "") {
    const Outcome o = Call(arguments);
    EXPECT_EQ(o.code, 2) << arguments << "\n" << o.err;
    EXPECT_EQ(o.out, "") << arguments;
    EXPECT_EQ(std::count(o.err.begin(), o.err.end(), '\n'), 1) << o.err;
    EXPECT_NE(o.err.find(part), std::string::npos) << "expected: " << part << "\ngot: " << o.err;
    EXPECT_FALSE(!made.empty() && fs::exists(*folder_ / made)) << arguments;
  }

  static std::set<std::string> Checkpoints(const std::string& run) {
    std::set<std::string> names;
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(*folder_ / run / "checkpoints", none))
      names.insert(entry.path().filename());
    return names;
  }
  static std::set<std::string> Partial(const std::string& run) {
    std::set<std::string> names = Checkpoints(run);
    std::erase_if(names, [](const std::string& name) { return !name.ends_with(".partial"); });
    return names;
  }
  static bool Saved(const std::string& run) {
    const std::set<std::string> names = Checkpoints(run);
    return std::any_of(names.begin(), names.end(), [](const std::string& name) {
      return name.size() == std::string("step-00000001").size();
    });
  }
  // Until `condition`, or the program ends, or `most` has passed; whether the condition came.
  static bool WaitFor(pid_t child, const std::function<bool()>& condition,
                      milliseconds most = std::chrono::minutes(1)) {
    const Clock::time_point begin = Clock::now();
    while (Clock::now() - begin < most) {
      if (condition()) return true;
      siginfo_t ended = {};
      if (waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOHANG | WNOWAIT) == 0 &&
          ended.si_pid != 0)
        return condition();
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    return false;
  }

  // The last checkpoint of `run` is that of the run nothing happened to.
  static void ExpectSameEnd(const std::string& run) {
    for (const char* file : {"model.safetensors", "optimizer.safetensors"}) {
      const std::string name = std::string("/checkpoints/step-00000060/") + file;
      const std::string expected = Slurp(*folder_ / ("whole" + name)), got = Slurp(*folder_ / (run + name));
      ASSERT_GT(expected.size(), 1000u);
      EXPECT_TRUE(expected == got) << run << ": other bits in " << file;
    }
  }
  // And so is what else it has left.
  static void ExpectWhole(const std::string& run) {
    ExpectSameEnd(run);
    EXPECT_EQ(Losses(run), Losses("whole"));
    EXPECT_EQ(Checkpoints(run), Checkpoints("whole"));
  }
  // What metrics.jsonl says of the losses, without speeds.
  static std::vector<std::string> Losses(const std::string& run) {
    std::vector<std::string> lines;
    std::istringstream in(Slurp(*folder_ / run / "metrics.jsonl"));
    for (std::string line; std::getline(in, line);)
      lines.push_back(line.substr(0, line.find(", \"tokens_per")));
    return lines;
  }

  static fs::path* folder_;
  static milliseconds whole_;  // what a whole run takes
};
fs::path* TrainProgram::folder_ = nullptr;
milliseconds TrainProgram::whole_{0};

TEST_F(TrainProgram, KilledAtAnyMomentAndAlsoWhileItSavesItEndsInTheSameBits) {
  std::mt19937 random(11);
  int kills = 0, while_saving = 0;
  for (int attempt = 0; attempt < 24 && (while_saving < 3 || kills < 8); ++attempt) {
    const pid_t child = Start(
        std::string("train run.yaml -o killed --threads 1") + (Saved("killed") ? " --resume" : ""), "killed");
    if (attempt % 2 == 0) {
      // The first or second save of this start, a little later each time.
      std::set<std::string> seen = Partial("killed");
      const size_t wanted = seen.size() + 1 + attempt / 2 % 2;
      WaitFor(child, [&] {
        for (const std::string& name : Partial("killed")) seen.insert(name);
        return seen.size() >= wanted;
      });
      std::this_thread::sleep_for(std::chrono::microseconds(attempt * 100));
    } else {
      std::this_thread::sleep_for(milliseconds(random() % static_cast<uint64_t>(whole_.count() / 2 + 1)));
    }
    kill(child, SIGKILL);
    const Outcome o = Finish(child, "killed");
    if (o.code == 0) break;
    ASSERT_EQ(o.code, 128 + SIGKILL) << o.err;
    ++kills;
    while_saving += !Partial("killed").empty();
  }
  RecordProperty("kills", kills);
  RecordProperty("while_saving", while_saving);
  EXPECT_GE(kills, 4);
  EXPECT_GE(while_saving, 1);
  const Outcome o =
      Call(std::string("train run.yaml -o killed --threads 1") + (Saved("killed") ? " --resume" : ""));
  ASSERT_EQ(o.code, 0) << o.err;
  ExpectWhole("killed");
}

TEST_F(TrainProgram, AFullDiskLeavesTheOldCheckpoint) {
  ASSERT_EQ(Call("train run.yaml -o full --stop-after 6 --threads 1").code, 0);
  const rlim_t most = fs::file_size(*folder_ / "full/checkpoints/step-00000006/model.safetensors") + 4096;
  const Outcome o = Call("train run.yaml -o full --resume --threads 1", [&] {
    const rlimit limit = {most, most};
    setrlimit(RLIMIT_FSIZE, &limit);
    signal(SIGXFSZ, SIG_IGN);  // writes fail instead
  });
  EXPECT_EQ(o.code, 1) << o.err;
  const std::string sentence = o.err.substr(o.err.rfind('\n', o.err.size() - 2) + 1);
  EXPECT_EQ(sentence.find("fusiontree train: "), 0u) << o.err;
  EXPECT_NE(sentence.find("optimizer.safetensors\" cannot be written"), std::string::npos) << o.err;
  EXPECT_NE(sentence.find("File too large"), std::string::npos) << o.err;
  EXPECT_EQ(Checkpoints("full"), (std::set<std::string>{"best", "step-00000004", "step-00000006"}));
  const Outcome again = Call("train run.yaml -o full --resume --threads 1");
  ASSERT_EQ(again.code, 0) << again.err;
  ExpectSameEnd("full");
}

TEST_F(TrainProgram, ANonFiniteLossNamesWhereAndTheLastGoodCheckpointGoesOn) {
  ASSERT_EQ(Call("train run.yaml -o wild --stop-after 8 --threads 1").code, 0);
  Write(*folder_ / "wild.yaml", Config("100"));
  const Outcome o = Call("train wild.yaml -o wild --resume --allow-changes --threads 1");
  EXPECT_EQ(o.code, 1) << o.err;
  const std::string sentence = o.err.substr(o.err.rfind('\n', o.err.size() - 2) + 1);
  EXPECT_EQ(sentence.find("fusiontree train: step "), 0u) << o.err;
  EXPECT_TRUE(
      std::regex_search(sentence, std::regex("step \\d+: a value is not finite: layer [01], [a-z_]+\n$")))
      << o.err;
  EXPECT_EQ(Checkpoints("wild").count("step-00000008"), 1u);
  const Outcome again = Call("train run.yaml -o wild --resume --threads 1");
  ASSERT_EQ(again.code, 0) << again.err;
  ExpectWhole("wild");
}

TEST_F(TrainProgram, CtrlCSavesAndThePrintedCommandGoesOn) {
  for (const int asked : {SIGINT, SIGTERM}) {
    const std::string run = "stopped" + std::to_string(asked);
    const pid_t child = Start("train run.yaml -o " + run + " --threads 1", run);
    ASSERT_TRUE(WaitFor(child, [&] { return Saved(run); }));
    kill(child, asked);
    const Outcome o = Finish(child, run);
    EXPECT_EQ(o.code, 0) << o.err;
    EXPECT_EQ(o.out.find("stopped after step "), 0u) << o.out;
    const std::string begin = "go on with: fusiontree ";
    const size_t at = o.out.find(begin);
    ASSERT_NE(at, std::string::npos) << o.out;
    const std::string command = o.out.substr(at + begin.size(), o.out.find('\n', at) - at - begin.size());
    const Outcome again = Call(command + " --threads 1");
    ASSERT_EQ(again.code, 0) << command << "\n" << again.err;
    ExpectSameEnd(run);
  }
}

TEST_F(TrainProgram, ASecondCtrlCLeavesAtOnceAndOneRunAtATimeHasTheFolder) {
  // The second step is a long one.
  Write(*folder_ / "slow.yaml",
        "model: model.json\ndata: [{path: shards}]\nlog_every: 1\n"
        "stages: [{tokens: 16, length: 16, batch: 16}, {tokens: 4194304, length: 64, batch: 4194304}]\n");
  const pid_t child = Start("train slow.yaml -o slow --threads 1", "slow");
  ASSERT_TRUE(WaitFor(child, [] { return !Slurp(*folder_ / "slow/metrics.jsonl").empty(); }));
  ExpectBadInput("train run.yaml -o slow", "slow: another run is writing into this folder");
  kill(child, SIGINT);
  std::this_thread::sleep_for(milliseconds(200));
  EXPECT_EQ(kill(child, 0), 0);
  siginfo_t ended = {};
  EXPECT_EQ(waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOHANG | WNOWAIT), 0);
  EXPECT_EQ(ended.si_pid, 0) << "the first Ctrl-C waits for the step";
  kill(child, SIGINT);
  EXPECT_EQ(Finish(child, "slow").code, 130);
  // And its folder can be begun anew.
  EXPECT_EQ(Call("train run.yaml -o slow --stop-after 1").code, 0);
}

TEST_F(TrainProgram, BadInputIsOneSentence) {
  const auto with = [](const std::string& from, const std::string& to) {
    std::string text = Config();
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    Write(*folder_ / "bad.yaml", text.replace(at, from.size(), to));
  };
  with("seed: 3", "sed: 3");
  ExpectBadInput("train bad.yaml -o bad",
                 "bad.yaml: line 2: there is no key \"sed\" (did you mean \"seed\"?)", "bad");
  with("length: 16", "length: \"16\"");
  ExpectBadInput("train bad.yaml -o bad", "\"stages[0].length\" must be an integer", "bad");
  with("seed: 3", "seed: 3\nseed: 4");
  ExpectBadInput("train bad.yaml -o bad", "line 3: \"seed\" is there twice", "bad");
  with("seed: 3", "# \xff\nseed: 3");
  ExpectBadInput("train bad.yaml -o bad", "bad.yaml: line 2: is not UTF-8", "bad");
  with("path: shards", "path: short");
  ExpectBadInput("train bad.yaml -o bad", "tokens, fewer than one row of 16", "bad");
  with("model.json", "small.json");
  ExpectBadInput("train bad.yaml -o bad", "token ids, but the model small.json has a vocabulary of 200",
                 "bad");
  with("path: shards", "path: missing");
  ExpectBadInput("train bad.yaml -o bad", "\"missing/index.json\" does not exist", "bad");
  Write(*folder_ / "empty.txt", "");
  ExpectBadInput("data tokenize empty.txt --tokenizer tok -o bad", "there is no document to tokenise", "bad");
  Write(*folder_ / "lines.jsonl", "{\"text\": \"a\"}\n{\"text\": 3}\n");
  ExpectBadInput("data tokenize lines.jsonl --tokenizer tok -o bad",
                 "lines.jsonl line 2: \"text\" is no string", "bad");

  ExpectBadInput("train run.yaml -o whole", "whole: is a run already: --resume goes on with it");
  ExpectBadInput("train run.yaml -o shards", "shards: holds ");
  ExpectBadInput("train run.yaml -o bad --resume", "bad: there is no run to go on with", "bad");
  fs::create_directories(*folder_ / "begun");
  ExpectBadInput("train run.yaml -o begun --resume", "begun: there is no checkpoint to go on from");
  const Outcome done = Call("train run.yaml -o whole --resume");
  EXPECT_EQ(done.code, 0);
  EXPECT_EQ(done.out.find("all 60 steps were done already: "), 0u) << done.out;
}

TEST_F(TrainProgram, OnATerminalThereIsOneLiveLine) {
  for (const bool dumb : {false, true}) {
    const std::string run = dumb ? "dumb" : "live";
    int terminal = -1;
    winsize size = {24, 90, 0, 0};
    const pid_t child = forkpty(&terminal, nullptr, nullptr, &size);
    if (child == 0) {
      if (chdir(folder_->c_str()) != 0) _exit(99);
      setenv("TERM", dumb ? "dumb" : "xterm", 1);
      execl(FUSIONTREE_BINARY, "fusiontree", "train", "run.yaml", "-o", run.c_str(), "--stop-after", "8",
            nullptr);
      _exit(99);
    }
    ASSERT_GT(child, 0);
    std::string text;
    char buffer[4096];
    for (ssize_t n; (n = read(terminal, buffer, sizeof(buffer))) > 0;)
      text.append(buffer, static_cast<size_t>(n));
    int status = 0;
    waitpid(child, &status, 0);
    close(terminal);
    EXPECT_EQ(CodeOf(status), 0) << text;
    if (dumb) {
      EXPECT_EQ(text.find('\x1b'), std::string::npos) << text;
      EXPECT_NE(text.find("step 2/60  loss "), std::string::npos) << text;
      continue;
    }
    const size_t bar = text.rfind("\rtraining  [");
    ASSERT_NE(bar, std::string::npos) << text;
    const std::string line = text.substr(bar + 1, text.find('\x1b', bar) - bar - 1);
    for (const char* part : {"#", ".]", "%  step ", "/60  loss ", " tok/s  ", " left"})
      EXPECT_NE(line.find(part), std::string::npos) << line;
    EXPECT_LT(line.size(), 90u);
    EXPECT_EQ(text.find("lr "), std::string::npos) << text;
    EXPECT_NE(text.find("\r\x1b[Kstep 4/60  held out: "), std::string::npos) << text;
    EXPECT_LT(text.rfind("\rtraining"), text.rfind("\r\x1b[K")) << "the line is taken off";
  }
}

}  // namespace
}  // namespace fusiontree
