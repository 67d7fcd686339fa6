#include "report/run_log.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cmath>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <limits>

namespace fusiontree::report {
namespace {

namespace fs = std::filesystem;

class RunLogTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "run-log-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    path_ = folder_ / kMetricsFile;
  }
  void TearDown() override { fs::remove_all(folder_); }
  void Write(const std::string& text) { std::ofstream(path_, std::ios::binary) << text; }
  std::string Read() {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  size_t Files() { return static_cast<size_t>(std::distance(fs::directory_iterator(folder_), {})); }

  fs::path folder_;
  std::string path_;
};

Record Metrics(int64_t step, double loss) {
  Record record;
  record.step = step;
  record.tokens = step * 8192;
  record.numbers = {{std::string(kLoss), loss}, {std::string(kMfu), 0.1}};
  return record;
}

TEST_F(RunLogTest, LinesAreWhatTheHeaderShows) {
  EXPECT_EQ(ToLine(Metrics(3, std::numeric_limits<double>::quiet_NaN())),
            "{\"step\": 3, \"tokens\": 24576, \"loss\": null, \"mfu\": 0.1}\n");
  EXPECT_EQ(ToLine(ToRecord({120, 3, 0.5, 0.25, {1, 0, 2.5}})),
            "{\"kind\": \"gates\", \"step\": 120, \"layer\": 3, \"mean\": 0.5, \"deviation\": 0.25, "
            "\"histogram\": [1, 0, 2.5]}\n");
  Record record;
  record.kind = "note";
  record.texts = {{"text", "two\nlines"}};
  EXPECT_EQ(ToLine(record), "{\"kind\": \"note\", \"step\": 0, \"text\": \"two\\nlines\"}\n");
}

TEST_F(RunLogTest, WhatIsWrittenIsRead) {
  auto log = RunLog::Create(path_);
  ASSERT_TRUE(log.ok());
  const double third = 1.0 / 3;
  ASSERT_TRUE(log->Append(Metrics(1, third)).ok());
  ASSERT_TRUE(log->Append(Metrics(2, std::numeric_limits<double>::infinity())).ok());
  GatesRecord gates = {2, 7, 0.4, 0.1, std::vector<double>(kGateBins, 3)};
  ASSERT_TRUE(log->Append(ToRecord(gates)).ok());
  ASSERT_TRUE(log->Sync().ok());
  const auto records = ReadRunLog(path_);
  ASSERT_TRUE(records.ok()) << records.status().message();
  ASSERT_EQ(records->size(), 3u);
  EXPECT_EQ((*records)[0].step, 1);
  EXPECT_EQ((*records)[0].tokens, 8192);
  EXPECT_EQ(*(*records)[0].Number(kLoss), third);  // the same bits
  EXPECT_EQ((*records)[0].Number("absent"), nullptr);
  EXPECT_TRUE(std::isnan(*(*records)[1].Number(kLoss)));
  const auto read = ToGates((*records)[2]);
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->layer, 7);
  EXPECT_EQ(read->mean, 0.4);
  EXPECT_EQ(read->histogram, gates.histogram);
}

TEST_F(RunLogTest, CreateRefusesAFileThatIsThere) {
  Write("");
  const auto log = RunLog::Create(path_);
  ASSERT_FALSE(log.ok());
  EXPECT_NE(log.status().message().find("File exists"), std::string::npos) << log.status().message();
}

TEST_F(RunLogTest, ResumeDropsLaterStepsAndATornLine) {
  const std::string kept =
      ToLine(Metrics(1, 0.1)) + ToLine(ToRecord({2, 0, 0.5, 0.1, {1}})) + ToLine(Metrics(2, 1e-300));
  // The torn line is of a kept step: it is dropped because it is torn.
  for (const std::string& rest :
       {std::string(), ToLine(Metrics(3, 3)) + ToLine(ToRecord({3, 0, 0.5, 0.1, {1}})),
        std::string("{\"step\": 2, \"lo"), ToLine(Metrics(3, 3)) + "{\"step\": 2}",
        std::string("\0\0\0", 3)}) {
    Write(kept + rest);
    {
      auto log = RunLog::Resume(path_, 2);
      ASSERT_TRUE(log.ok()) << log.status().message();
      EXPECT_EQ(Read(), kept);
      ASSERT_TRUE(log->Append(Metrics(3, 4)).ok());
    }
    EXPECT_EQ(Read(), kept + ToLine(Metrics(3, 4)));
  }
  EXPECT_EQ(Files(), 1u) << "no temporary file stays";
}

// Never stopped = killed at any byte and resumed, when the steps after the checkpoint are written again.
TEST_F(RunLogTest, KilledAtAnyByteAndResumedIsTheSameFile) {
  std::string whole;
  std::vector<Record> records;
  for (int64_t step = 1; step <= 6; ++step) {
    records.push_back(Metrics(step, 1.0 / static_cast<double>(step)));
    whole += ToLine(records.back());
  }
  const size_t checkpoint = ToLine(records[0]).size() + ToLine(records[1]).size();
  for (size_t cut = checkpoint; cut <= whole.size(); ++cut) {
    Write(whole.substr(0, cut));
    auto log = RunLog::Resume(path_, 2);
    ASSERT_TRUE(log.ok()) << log.status().message();
    for (size_t i = 2; i < records.size(); ++i) ASSERT_TRUE(log->Append(records[i]).ok());
    ASSERT_EQ(Read(), whole) << cut;
  }
}

TEST_F(RunLogTest, ResumeBeginsAMissingFileAndRefusesADamagedOne) {
  ASSERT_TRUE(RunLog::Resume(path_, 5).ok());
  EXPECT_EQ(Read(), "");
  const std::string damaged = "{\"step\": 1}\n{\"step\": \n{\"step\": 3}\n";
  Write(damaged);
  const auto log = RunLog::Resume(path_, 5);
  ASSERT_FALSE(log.ok());
  EXPECT_NE(log.status().message().find("metrics.jsonl\": line 2: "), std::string::npos)
      << log.status().message();
  EXPECT_EQ(Read(), damaged);
}

TEST_F(RunLogTest, AFullDiskLeavesNoPartOfALine) {
  auto log = RunLog::Create(path_);
  ASSERT_TRUE(log.ok());
  ASSERT_TRUE(log->Append(Metrics(1, 2)).ok());
  const std::string before = Read();
  // A limit on the size of files stands for the disk: part of the line is written, then no more.
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit old_limit;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  rlimit limit = {before.size() + 10, old_limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  const base::Status status = log->Append(Metrics(2, 2));
  setrlimit(RLIMIT_FSIZE, &old_limit);
  std::signal(SIGXFSZ, old_handler);
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.message().find("cannot be written: File too large"), std::string::npos)
      << status.message();
  EXPECT_EQ(Read(), before);
  ASSERT_TRUE(log->Append(Metrics(2, 2)).ok());
  EXPECT_EQ(Read(), before + ToLine(Metrics(2, 2)));
}

std::string ParseError(const std::string& bytes) {
  const base::Status status = ParseRunLog(bytes, [](const Record&) { return base::OkStatus(); });
  return status.ok() ? "" : status.message();
}

TEST(ParseRunLog, SaysWhatIsWrongWithWhichLine) {
  EXPECT_EQ(ParseError(""), "");
  EXPECT_EQ(ParseError("{\"step\": 1} \n{\"step\": 2, \"x\": [1, null], \"t\": \"\"}\n not finished"), "");
  EXPECT_EQ(ParseError("\n"), "line 1: it is empty, where JSON was expected");
  EXPECT_EQ(ParseError("{\"step\": 1}\n{}\n"), "line 2: \"step\" is missing");
  EXPECT_EQ(ParseError("{\"step\": 1.5}\n"), "line 1: \"step\" must be a whole number from 0");
  EXPECT_EQ(ParseError("{\"step\": -1}\n"), "line 1: \"step\" must be a whole number from 0");
  EXPECT_EQ(ParseError("{\"step\": 18446744073709551615}\n"),
            "line 1: \"step\" must be a whole number from 0");
  EXPECT_EQ(ParseError("{\"step\": null}\n"), "line 1: \"step\" must be a whole number from 0");
  EXPECT_EQ(ParseError("{\"step\": 1, \"kind\": 2}\n"), "line 1: \"kind\" must be a text");
  EXPECT_EQ(ParseError("{\"step\": 1, \"a\": 2, \"a\": 2}\n"), "line 1: it has the key \"a\" twice");
  EXPECT_EQ(ParseError("{\"step\": 1, \"a\": true}\n"),
            "line 1: \"a\" must be a number or a list of numbers, but holds a boolean");
  EXPECT_EQ(ParseError("{\"step\": 1, \"a\": {}}\n"),
            "line 1: \"a\" must be a number or a list of numbers, but holds an object");
  EXPECT_EQ(ParseError("{\"step\": 1, \"a\": [[1]]}\n"),
            "line 1: \"a\" must be a number or a list of numbers, but holds a list");
  EXPECT_EQ(ParseError("[1]\n"), "line 1: it must be an object, but it begins with a list");
  EXPECT_EQ(ParseError("7\n"), "line 1: it must be an object, but it begins with a value");
  EXPECT_NE(ParseError("{\"step\": 1} x\n").find("line 1: it is not valid JSON at byte"), std::string::npos);
  EXPECT_NE(ParseError("{\"step\": 1, \"\xff\": 1}\n").find("it is not UTF-8"), std::string::npos);
  std::string many = "{\"step\": 1";
  for (int i = 0; i < 1001; ++i) many += ", \"" + std::to_string(i) + "\": 1";
  EXPECT_EQ(ParseError(many + "}\n"), "line 1: it has more than 1000 keys");
}

TEST(ToGates, NamesWhatIsMissing) {
  const Record good = ToRecord({1, 2, 0.5, 0.1, std::vector<double>(kGateBins, 1)});
  EXPECT_TRUE(ToGates(good).ok());
  Record bad = good;
  bad.numbers[0].second = -1;
  EXPECT_FALSE(ToGates(bad).ok());
  bad.numbers[0].second = 1.5;
  EXPECT_FALSE(ToGates(bad).ok());
  bad = good;
  bad.numbers.pop_back();
  EXPECT_NE(ToGates(bad).status().message().find("deviation"), std::string::npos);
  bad = good;
  bad.lists[0].second.pop_back();
  EXPECT_NE(ToGates(bad).status().message().find("16 numbers, and has 15"), std::string::npos);
}

TEST_F(RunLogTest, OnlyRegularFilesAreRead) {
  EXPECT_NE(ReadRunLog(path_).status().message().find("No such file"), std::string::npos);
  EXPECT_NE(ReadRunLog(folder_).status().message().find("not a regular file"), std::string::npos);
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  EXPECT_NE(ReadRunLog(path_).status().message().find("not a regular file"), std::string::npos);
}

}  // namespace
}  // namespace fusiontree::report
