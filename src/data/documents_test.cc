// From files to documents: which files, where they are cut, what a line of JSON means, what is refused.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include <filesystem>
#include <fstream>

#include "data/document.h"
#include "data/document_reader.h"
#include "data/pipeline.h"
#include "data/sources.h"
#include "data/testing.h"

namespace fusiontree::data {
namespace {

namespace fs = std::filesystem;

std::string Compressed(const std::string& text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}

class Documents : public TempFolder {
 protected:
  std::vector<std::string> Names(const std::vector<std::string>& paths) {
    std::vector<std::string> full;
    for (const std::string& path : paths) full.push_back(Path(path));
    const auto sources = FindSources(full);
    error_ = sources.status().ok() ? "" : sources.status().message();
    std::vector<std::string> names;
    if (sources.ok())
      for (const SourceFile& source : *sources) names.push_back(fs::relative(source.path, Path("")).string());
    return names;
  }

  // "WHERE: TEXT" of each document of one file.
  std::vector<std::string> Read(const std::string& name, ReaderOptions options = {}) {
    const auto sources = FindSources({Path(name)});
    EXPECT_TRUE(sources.ok());
    DocumentReader reader(*sources, options);
    std::vector<std::string> documents;
    error_.clear();
    for (RawDocument raw;;) {
      const auto more = reader.Next(&raw);
      if (!more.ok()) error_ = more.status().message();
      if (!more.ok() || !*more) return documents;
      documents.push_back(fmt::format("{}{}: {}", reader.Where(raw).substr(Path("").size()),
                                      raw.too_long ? " (too long)" : "", raw.text));
    }
  }

  std::string error_;
};

using Strings = std::vector<std::string>;

TEST_F(Documents, FilesFoldersAndPatternsInOrder) {
  for (const char* name :
       {"b/2.txt", "b/10.txt", "b/sub/x.md", "b/.hidden", "b/.git/config", "a.txt", "[odd].txt"})
    Write(name, "text");
  EXPECT_EQ(Names({"b"}), (Strings{"b/10.txt", "b/2.txt", "b/sub/x.md"}));
  EXPECT_EQ(Names({"b/2.txt", "b"}), (Strings{"b/2.txt", "b/10.txt", "b/sub/x.md"}));
  EXPECT_EQ(Names({"b/*.txt", "a.*"}), (Strings{"b/10.txt", "b/2.txt", "a.txt"}));
  EXPECT_EQ(Names({"[odd].txt"}), Strings{"[odd].txt"});
  fs::create_directory_symlink(Path("b"), Path("b/loop"));
  EXPECT_EQ(Names({"b"}).size(), 3u) << error_;
}

TEST_F(Documents, WhatIsNoFileIsRefusedByName) {
  fs::create_directories(Path("empty/.git"));
  Write("empty/.git/x", "");
  ASSERT_EQ(mkfifo(Path("fifo").c_str(), 0600), 0);
  Write("a.parquet", "PAR1");
  for (const auto& [path, part] : {std::pair{"nowhere.txt", "does not exist"},
                                   {"empty", "has no file to read"},
                                   {"*.none", "no file matches"},
                                   {"fifo", "is a FIFO"},
                                   {"a.parquet", "cannot be read"}}) {
    EXPECT_TRUE(Names({path}).empty());
    EXPECT_NE(error_.find(part), std::string::npos) << error_;
    EXPECT_NE(error_.find(path), std::string::npos) << error_;
  }
}

TEST_F(Documents, TextIsCutAsAsked) {
  const std::string text = "one\ntwo\n\n \t\nthree\r\n\r\n\n---\nfour";
  Write("a.txt", text);
  Write("a.txt.zst", Compressed(text.substr(0, 11)) + Compressed(text.substr(11)));
  for (const char* name : {"a.txt", "a.txt.zst"}) {
    const std::string n = name;
    EXPECT_EQ(Read(name), (Strings{n + ": " + text}));
    EXPECT_EQ(Read(name, {.cut = Cut::kParagraphs}),
              (Strings{n + " line 1: one\ntwo", n + " line 5: three", n + " line 8: ---\nfour"}));
    EXPECT_EQ(Read(name, {.cut = Cut::kLines}),
              (Strings{n + " line 1: one", n + " line 2: two", n + " line 5: three", n + " line 8: ---",
                       n + " line 9: four"}));
    EXPECT_EQ(Read(name, {.cut = Cut::kSeparator, .separator = "---"}),
              (Strings{n + " line 1: one\ntwo\n\n \t\nthree\r\n\r\n", n + " line 9: four"}));
  }
  Write("bom.txt", "\xEF\xBB\xBFtext\n");
  EXPECT_EQ(Read("bom.txt"), Strings{"bom.txt: text\n"});
  Write("empty.txt", "");
  EXPECT_EQ(Read("empty.txt"), Strings{});
}

TEST_F(Documents, LinesAndFilesLongerThanABuffer) {
  std::string text;
  for (int i = 0; i < 200000; ++i) text += std::to_string(i) + (i % 1000 == 999 ? "\n" : " ");
  Write("long.txt", text);
  Write("long.txt.zst", Compressed(text));
  EXPECT_EQ(Read("long.txt")[0], "long.txt: " + text);
  EXPECT_EQ(Read("long.txt.zst")[0], "long.txt.zst: " + text);
  const Strings lines = Read("long.txt.zst", {.cut = Cut::kLines});
  ASSERT_EQ(lines.size(), 200u);
  EXPECT_EQ(lines[199].substr(0, 33), "long.txt.zst line 200: 199000 199");
}

TEST_F(Documents, TooLongIsMarkedAndTheNextIsWhole) {
  Write("a.jsonl", "0123456789\nabcdef\nabcdefg\n");
  EXPECT_EQ(Read("a.jsonl", {.max_bytes = 6}),
            (Strings{"a.jsonl line 1 (too long): 012345", "a.jsonl line 2: abcdef",
                     "a.jsonl line 3 (too long): abcdef"}));
  Write("a.txt", "0123456789");
  EXPECT_EQ(Read("a.txt", {.max_bytes = 6}), Strings{"a.txt (too long): 012345"});
  EXPECT_EQ(Read("a.txt", {.max_bytes = 10}), Strings{"a.txt: 0123456789"});
  EXPECT_EQ(Read("a.txt", {.cut = Cut::kParagraphs, .max_bytes = 6}),
            Strings{"a.txt line 1 (too long): 012345"});
}

TEST_F(Documents, DamagedCompressionIsAnError) {
  const std::string whole = Compressed(std::string(1000, 'a') + "bcd");
  for (size_t cut = 1; cut < whole.size(); ++cut) {
    Write("cut.zst", whole.substr(0, cut));
    Read("cut.zst");
    EXPECT_NE(error_.find("cut.zst"), std::string::npos) << cut << ": " << error_;
  }
  Write("bad.zst", "this is no zstd");
  Read("bad.zst");
  EXPECT_NE(error_.find("is not valid zstd"), std::string::npos) << error_;
}

base::Result<Document> Parsed(const std::string& line, const tokenizer::Tokenizer* tokenizer = nullptr) {
  const auto parser = DocumentParser::Make(tokenizer);
  EXPECT_TRUE(parser.ok());
  return parser->Parse({.text = line, .json = true});
}

TEST(DocumentParser, ALineOfJson) {
  const auto plain = Parsed(R"({"id": 7, "text": "h\u00e9llo", "meta": {"a": []}})");
  ASSERT_TRUE(plain.ok()) << plain.status().message();
  EXPECT_EQ(plain->text, "h\xC3\xA9llo");
  EXPECT_FALSE(plain->masked);
  const auto masked = Parsed(R"({"text": "h\u00e9llo w\u00f6rld", "loss_mask": [[1, 3], [6, 11]]})");
  ASSERT_TRUE(masked.ok()) << masked.status().message();
  EXPECT_TRUE(masked->masked);
  EXPECT_EQ(masked->loss, (std::vector<tokenizer::Span>{{1, 4}, {7, 13}}));
}

TEST(DocumentParser, WhatIsWrongIsSaid) {
  for (const auto& [line, part] : std::vector<std::pair<std::string, std::string>>{
           {"{", "not valid JSON"},
           {"[1]", "no JSON object"},
           {"{}", "neither \"text\" nor \"messages\""},
           {R"({"text": 1})", "\"text\" is no string"},
           {R"({"text": "a", "text": "b"})", "twice"},
           {R"({"text": "a", "messages": []})", "both"},
           {R"({"messages": []})", "no list of messages"},
           {R"({"messages": [{"content": "a"}]})", "message 0"},
           {"{\"text\": \"\xff\"}", "UTF-8"},
           {R"({"text": "\ud800"})", "not valid JSON"},
           {R"({"text": "abc", "loss_mask": 1})", "no list"},
           {R"({"text": "abc", "loss_mask": [[0]]})", "entry 0"},
           {R"({"text": "abc", "loss_mask": [[0, 1.5]]})", "entry 0"},
           {R"({"text": "abc", "loss_mask": [[-1, 2]]})", "entry 0"},
           {R"({"text": "abc", "loss_mask": [[2, 2]]})", "empty"},
           {R"({"text": "abc", "loss_mask": [[0, 2], [1, 3]]})", "entry 1"},
           {R"({"text": "abc", "loss_mask": [[2, 4]]})", "has 3 characters"},
           {R"({"text": "abc", "loss_mask": [[2, 18446744073709551615]]})", "has 3 characters"}}) {
    const auto document = Parsed(line);
    ASSERT_FALSE(document.ok()) << line;
    EXPECT_EQ(document.status().kind(), base::ErrorKind::kBadInput);
    EXPECT_NE(document.status().message().find(part), std::string::npos)
        << line << ": " << document.status().message();
  }
  const auto parser = DocumentParser::Make(nullptr);
  const auto text = parser->Parse({.text = "a\nb\xC0", .line = 5});
  EXPECT_EQ(text.status().message(), "byte 0xC0 in line 6 is not UTF-8");
}

TEST(DocumentParser, OnlyTheAssistantIsLearnt) {
  const tokenizer::Tokenizer tokenizer = ByteTokenizer();
  const std::string line =
      R"({"messages": [{"role": "user", "content": "a<|end|>"}, {"role": "assistant", "content": "bc"},
                       {"role": "user", "content": "d"}, {"role": "assistant", "content": "e"}]})";
  const auto document = Parsed(line, &tokenizer);
  ASSERT_TRUE(document.ok()) << document.status().message();
  EXPECT_EQ(document->text,
            "<|user|>a<|end|><|end|><|assistant|>bc<|end|><|user|>d<|end|><|assistant|>e<|end|>");
  const auto encoded = EncodeDocument(*document, tokenizer);
  ASSERT_TRUE(encoded.ok()) << encoded.status().message();
  std::string learnt;
  for (size_t i = 0; i < encoded->ids.size(); ++i)
    if (encoded->targets[i]) learnt += tokenizer.TokenText(encoded->ids[i]);
  EXPECT_EQ(learnt, "bc<|end|>e<|end|>");
  EXPECT_EQ(encoded->ids.back(), *tokenizer.eos_id());
  EXPECT_NE(encoded->ids[encoded->ids.size() - 2], *tokenizer.eos_id());  // it is there once
  const auto none = Parsed(R"({"messages": [{"role": "user", "content": "a"}]})", &tokenizer);
  ASSERT_TRUE(none.ok());
  EXPECT_NE(EncodeDocument(*none, tokenizer).status().message().find("no message is the assistant's"),
            std::string::npos);
}

TEST(DocumentParser, ATemplateThatRewritesIsRefused) {
  const tokenizer::Tokenizer tokenizer = ByteTokenizer(
      "{% for m in messages %}{{ loop.length }}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}");
  const auto document =
      Parsed(R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]})",
             &tokenizer);
  ASSERT_FALSE(document.ok());
  EXPECT_NE(document.status().message().find("rewrites earlier messages"), std::string::npos);
}

TEST(EncodeDocument, MasksTouchTheirTokens) {
  const tokenizer::Tokenizer tokenizer = ByteTokenizer();
  const auto targets = [&](std::vector<tokenizer::Span> loss) {
    const auto encoded = EncodeDocument({.text = "h\xC3\xA9llo", .masked = true, .loss = loss}, tokenizer);
    if (!encoded.ok()) return encoded.status().message();
    std::string bits;
    for (const bool target : encoded->targets) bits += target ? '1' : '0';
    return bits;
  };
  EXPECT_EQ(targets({{1, 3}}), "0110000");
  EXPECT_EQ(targets({{0, 6}}), "1111111");  // up to the end: the end-of-text token too
  EXPECT_EQ(targets({{0, 1}}), "nothing of it is to be learnt: \"loss_mask\" leaves no token");
  const auto plain = EncodeDocument({.text = "ab<|end|>"}, tokenizer);
  ASSERT_TRUE(plain.ok());
  EXPECT_EQ(plain->ids, (std::vector<int32_t>{'a', 'b', '<', '|', 'e', 'n', 'd', '|', '>', 256}));
  EXPECT_TRUE(plain->targets.empty());
  EXPECT_EQ(plain->text_bytes, 9u);
}

class Pipeline : public Documents {
 protected:
  std::string Run(bool skip, int threads, PipelineReport* report, std::string* error) {
    DocumentReader reader(*FindSources({Path("a.jsonl"), Path("b.txt")}), {});
    base::ThreadPool pool(threads);
    std::vector<std::string> texts(kBatchDocuments);
    std::string all;
    const auto run = RunPipeline(
        &reader, *DocumentParser::Make(nullptr), &pool, {.skip_invalid = skip},
        [&](Document document, size_t slot) {
          texts[slot] = std::move(document.text);
          return base::OkStatus();
        },
        [&](const std::vector<size_t>& slots) {
          for (const size_t slot : slots) all += texts[slot] + ",";
          return base::OkStatus();
        });
    *error = run.ok() ? "" : run.status().message();
    if (run.ok()) *report = *run;
    return all;
  }
};

TEST_F(Pipeline, OrderDoesNotDependOnThreads) {
  std::string lines, expected;
  for (int i = 0; i < 10000; ++i) {
    lines += fmt::format("{{\"text\": \"{}\"}}\n", i % 7 == 0 ? "" : std::to_string(i));
    if (i % 7 != 0) expected += std::to_string(i) + ",";
  }
  Write("a.jsonl", lines);
  Write("b.txt", "last");
  PipelineReport report;
  std::string error;
  for (const int threads : {1, 3}) {
    EXPECT_EQ(Run(false, threads, &report, &error), expected + "last,") << error;
    EXPECT_EQ(report.empty, 1429);
    EXPECT_EQ(report.documents, 10000 - 1429 + 1);
  }
}

TEST_F(Pipeline, InvalidLinesStopOrAreCounted) {
  Write("a.jsonl", "{\"text\": \"a\"}\nnonsense\n{\"text\": 1}\n{\"text\": \"b\"}\n");
  Write("b.txt", "bad \xff");
  PipelineReport report;
  std::string error;
  Run(false, 2, &report, &error);
  EXPECT_EQ(error.find(Path("a.jsonl") + " line 2: it is not valid JSON"), 0u) << error;
  EXPECT_EQ(Run(true, 2, &report, &error), "a,b,") << error;
  EXPECT_EQ(report.skipped, 3);
  ASSERT_EQ(report.skipped_why.size(), 3u);
  EXPECT_EQ(report.skipped_why[1], Path("a.jsonl") + " line 3: \"text\" is no string");
  EXPECT_EQ(report.skipped_why[2], Path("b.txt") + ": byte 0xFF in line 1 is not UTF-8");
}

}  // namespace
}  // namespace fusiontree::data
