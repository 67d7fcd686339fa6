// Token shards on disk: what is written comes back, whatever the threads; what is damaged is refused.
#include "data/shards.h"

#include <gtest/gtest.h>
#include <sys/file.h>

#include <cstring>
#include <filesystem>

#include "base/hash.h"
#include "base/philox.h"
#include "data/packing.h"
#include "data/testing.h"
#include "tokenizer/bpe_trainer.h"

namespace fusiontree::data {
namespace {

namespace fs = std::filesystem;

EncodedDocument RandomDocument(uint64_t seed, int vocab_size, bool masked) {
  EncodedDocument document;
  const int size = 1 + base::Philox(seed, 0, 0)[0] % 40;
  for (int i = 0; i < size; ++i) document.ids.push_back(base::Philox(seed, i, 1)[0] % vocab_size);
  if (masked)
    for (int i = 0; i < size; ++i) document.targets.push_back(base::Philox(seed, i, 2)[0] % 2);
  document.text_bytes = seed % 100;
  return document;
}

class Shards : public TempFolder {
 protected:
  std::string OpenError(const std::string& name, bool full = true) {
    const auto shard = ShardFile::Open(Path(name), full);
    return shard.ok() ? "" : shard.status().message();
  }
  // A small shard's bytes, and with `change` made to its header and all checksums right.
  std::string Small() {
    auto writer = ShardWriter::Create(Path("small"), 300, 7);
    EXPECT_TRUE(writer.ok());
    for (int i = 0; i < 5; ++i) EXPECT_TRUE(writer->Add(RandomDocument(i, 300, i == 2)).ok());
    EXPECT_TRUE(writer->Finish().ok());
    const std::string bytes = Slurp("small");
    fs::remove(Path("small"));
    return bytes;
  }
  static std::string Mended(std::string bytes) {
    ShardHeader header;
    std::memcpy(&header, bytes.data(), sizeof header);
    std::vector<uint64_t> words((bytes.size() - sizeof header) / 8);
    std::memcpy(words.data(), bytes.data() + sizeof header, words.size() * 8);
    header.data_hash = HashWords(words.data(), words.size(), base::kHashStart);
    header.header_hash = base::Hash(&header, offsetof(ShardHeader, header_hash));
    std::memcpy(bytes.data(), &header, sizeof header);
    return bytes;
  }

  // Tokenises a.txt (a document a line) and b.jsonl, both as written by WriteSources.
  void WriteSources() {
    std::string lines, chats;
    for (int i = 0; i < 3000; ++i) lines += fmt::format("Line {} of some text.\n", i);
    for (int i = 0; i < 40; ++i)
      chats += fmt::format(
          R"({{"messages": [{{"role": "user", "content": "{}"}}, {{"role": "assistant", "content": "b{}"}}]}})"
          "\n",
          i, i);
    Write("a.txt", lines);
    Write("b.jsonl", chats);
  }
  base::Result<PipelineReport> Tokenise(const std::string& output, int threads, ShardOptions options = {}) {
    const tokenizer::Tokenizer tokenizer = ByteTokenizer();
    const auto sources = FindSources({Path("a.txt"), Path("b.jsonl")});
    if (!sources.ok()) return sources.status();
    DocumentReader reader(*sources, {.cut = Cut::kLines});
    base::ThreadPool pool(threads);
    return WriteShards(&reader, *DocumentParser::Make(&tokenizer), tokenizer, Path(output), options, &pool);
  }
};

TEST_F(Shards, WhatIsWrittenComesBack) {
  for (const uint32_t vocab_size : {10u, 65536u, 65537u, 1u << 24}) {
    for (const bool masked : {false, true}) {
      const std::string name = fmt::format("{}-{}", vocab_size, masked);
      auto writer = ShardWriter::Create(Path(name), vocab_size, 99);
      ASSERT_TRUE(writer.ok());
      std::vector<EncodedDocument> documents;
      uint64_t targets = 0;
      for (int i = 0; i < 500; ++i) {
        documents.push_back(RandomDocument(i, static_cast<int>(vocab_size), masked && i % 2 != 0));
        const EncodedDocument& document = documents.back();
        for (size_t t = 1; t < document.ids.size(); ++t)
          targets += document.targets.empty() || document.targets[t];
        ASSERT_TRUE(writer->Add(document).ok());
      }
      const auto header = writer->Finish();
      ASSERT_TRUE(header.ok());
      EXPECT_EQ(header->id_bytes, vocab_size <= 65536 ? 2u : 4u);
      EXPECT_EQ(header->targets, targets);
      EXPECT_EQ(header->has_mask, masked);
      const auto shard = ShardFile::Open(Path(name));
      ASSERT_TRUE(shard.ok()) << shard.status().message();
      ASSERT_EQ((*shard)->documents(), 500);
      for (int64_t d = 0; d < 500; ++d) {
        const EncodedDocument& expected = documents[d];
        const int64_t size = static_cast<int64_t>(expected.ids.size());
        ASSERT_EQ((*shard)->Length(d), size);
        EXPECT_EQ((*shard)->TextBytes(d), static_cast<int64_t>(expected.text_bytes));
        for (const int64_t offset : {int64_t{0}, size / 3, size}) {
          std::vector<int32_t> ids(size - offset);
          std::vector<uint8_t> mask(size - offset);
          ASSERT_TRUE((*shard)->Read(d, offset, size - offset, ids.data(), mask.data()).ok());
          for (int64_t t = offset; t < size; ++t) {
            EXPECT_EQ(ids[t - offset], expected.ids[t]);
            EXPECT_EQ(mask[t - offset], expected.targets.empty() || expected.targets[t]);
          }
        }
      }
    }
  }
}

TEST_F(Shards, DamageIsRefused) {
  const std::string good = Small();
  Write("good", good);
  EXPECT_EQ(OpenError("good"), "");
  for (size_t cut = 0; cut < good.size(); ++cut) {
    Write("cut", good.substr(0, cut));
    EXPECT_NE(OpenError("cut", false).find("cut\": it "), std::string::npos) << cut;
  }
  for (size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] ^= 0x10;
    Write("bad", bad);
    EXPECT_NE(OpenError("bad"), "") << at;
  }
  Write("longer", good + std::string(8, '\0'));
  EXPECT_NE(OpenError("longer").find("bytes, but"), std::string::npos);
  EXPECT_NE(OpenError("nowhere").find("does not exist"), std::string::npos);
  EXPECT_NE(OpenError(".").find("folder"), std::string::npos);
}

TEST_F(Shards, WrongContentsWithRightChecksumsAreRefused) {
  const std::string good = Small();
  ShardHeader header;
  std::memcpy(&header, good.data(), sizeof header);
  const auto refused = [&](size_t at, auto value, const std::string& part) {
    std::string bad = good;
    std::memcpy(bad.data() + at, &value, sizeof value);
    Write("bad", Mended(bad));
    EXPECT_NE(OpenError("bad").find(part), std::string::npos) << at << ": " << OpenError("bad");
  };
  refused(0, 'X', "no token shard");
  refused(offsetof(ShardHeader, version), uint32_t{2}, "version 2");
  refused(offsetof(ShardHeader, id_bytes), uint32_t{4}, "4 bytes an id");
  refused(offsetof(ShardHeader, vocab_size), uint32_t{0}, "vocabulary of 0");
  refused(offsetof(ShardHeader, vocab_size), ~uint32_t{0}, "vocabulary of 4294967295");
  refused(offsetof(ShardHeader, vocab_size), uint32_t{200}, "not in the vocabulary of 200");
  refused(offsetof(ShardHeader, has_mask), uint32_t{2}, "mask 2");
  for (const uint64_t count : {uint64_t{0}, uint64_t{1} << 31, uint64_t{1} << 60, ~uint64_t{0}}) {
    refused(offsetof(ShardHeader, documents), count, count == 0 ? "0 documents" : "");
    refused(offsetof(ShardHeader, tokens), count, "");
  }
  const size_t table = good.size() - 16 * 6;
  refused(table, uint64_t{1}, "");
  refused(table + 16, uint64_t{0}, "document 0 begins");
  refused(table + 24, ~uint64_t{0}, "document 1 begins");
  refused(table + 32, header.tokens, "document 2 begins");
  refused(table + 80, header.tokens + 1, "but it has");
  refused(sizeof header, uint16_t{300}, "token 0 is 300, which is not in the vocabulary of 300");
  // Not looked for at the start, it is found when read.
  std::string bad = good;
  bad[sizeof header + 1] = 0x7f;
  Write("bad", bad);
  const auto shard = ShardFile::Open(Path("bad"), false);
  ASSERT_TRUE(shard.ok());
  int32_t id;
  uint8_t target;
  EXPECT_NE((*shard)->Read(0, 0, 1, &id, &target).message().find("not in the vocabulary"), std::string::npos);
}

TEST_F(Shards, AFileCutShortWhileReadIsAnError) {
  Write("good", Small());
  const auto shard = ShardFile::Open(Path("good"));
  ASSERT_TRUE(shard.ok());
  fs::resize_file(Path("good"), 10);
  int32_t id;
  uint8_t target;
  EXPECT_NE((*shard)->Read(0, 0, 1, &id, &target).message().find("become shorter"), std::string::npos);
}

TEST_F(Shards, TheBytesDoNotDependOnThreads) {
  WriteSources();
  for (const int threads : {1, 3}) {
    ShardOptions options{.held_out = 0.1, .shard_tokens = 20000};
    const auto report = Tokenise(fmt::format("out{}", threads), threads, options);
    ASSERT_TRUE(report.ok()) << report.status().message();
    EXPECT_EQ(report->documents, 3040);
  }
  int files = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(Path("out1"))) {
    const std::string name = entry.path().filename();
    EXPECT_EQ(Slurp("out1/" + name), Slurp("out3/" + name)) << name;
    ++files;
  }
  EXPECT_GE(files, 5);  // the index, several of train, one held out
  EXPECT_FALSE(fs::exists(Path("out1.partial")));
  const auto folder = ShardFolder::Open(Path("out1"));
  ASSERT_TRUE(folder.ok()) << folder.status().message();
  EXPECT_EQ(folder->train.documents() + folder->held_out.documents(), 3040);
  EXPECT_NEAR(folder->held_out.documents(), 304, 60);
  EXPECT_EQ(folder->vocab_size, 259);
  EXPECT_EQ(folder->eos_id, 256);
  EXPECT_GT(folder->train.files().size(), 2u);
  // Every text is there once, in the order of the files, on the side that its hash says.
  std::vector<std::string> texts;
  const tokenizer::Tokenizer tokenizer = ByteTokenizer();
  for (const ShardSet* set : {&folder->train, &folder->held_out}) {
    int64_t bytes = 0;
    for (int64_t d = 0; d < set->documents(); ++d) {
      std::vector<int32_t> ids(set->Length(d));
      std::vector<uint8_t> targets(set->Length(d));
      ASSERT_TRUE(set->Read(d, 0, set->Length(d), ids.data(), targets.data()).ok());
      EXPECT_EQ(ids.back(), 256);
      ids.pop_back();
      std::string text = *tokenizer.Decode(ids, false);
      if (text.starts_with("<|user|>")) text += "<|end|>";  // its own, and there once
      EXPECT_EQ(IsHeldOut(text, 0.1), set == &folder->held_out);
      bytes += set->TextBytes(d);
      texts.push_back(text);
    }
    EXPECT_EQ(bytes, set->text_bytes());
  }
  std::sort(texts.begin(), texts.end());
  EXPECT_EQ(std::unique(texts.begin(), texts.end()), texts.end());
  EXPECT_EQ(texts[40], "Line 0 of some text.");
}

TEST_F(Shards, AnErrorLeavesNoFolder) {
  Write("a.txt", "one\n\xff\n");
  Write("b.jsonl", "{}\n");
  const auto report = Tokenise("out", 2);
  EXPECT_EQ(report.status().message(), Path("a.txt") + " line 2: byte 0xFF in line 2 is not UTF-8");
  EXPECT_FALSE(fs::exists(Path("out")));
  EXPECT_FALSE(fs::exists(Path("out.partial")));
  ShardOptions skip;
  skip.pipeline.skip_invalid = true;
  const auto skipped = Tokenise("out", 2, skip);
  ASSERT_TRUE(skipped.ok()) << skipped.status().message();
  EXPECT_EQ(skipped->skipped, 2);
  EXPECT_EQ(ShardFolder::Open(Path("out"))->skipped, 2);
  EXPECT_NE(Tokenise("out", 2, skip).status().message().find("there already"), std::string::npos);
  Write("a.txt", "");
  Write("b.jsonl", "{\"text\": \"\"}");
  EXPECT_EQ(Tokenise("other", 1).status().message(),
            "there is no document to tokenise (1 without text, 0 invalid)");
  Write("a.txt", "one");
  EXPECT_NE(Tokenise("other", 1, {.held_out = 1}).status().message().find("all 1 documents are held out"),
            std::string::npos);
}

TEST_F(Shards, WhatAKilledRunLeftIsClearedAndARunningOneIsNot) {
  WriteSources();
  Write("out.partial/train-00000.tokens", "half");
  ASSERT_TRUE(Tokenise("out", 1).ok());
  EXPECT_FALSE(fs::exists(Path("out.partial")));
  const auto running = OutputFolder::Create(Path("other"));
  ASSERT_TRUE(running.ok());
  EXPECT_NE(Tokenise("other", 1).status().message().find("another run is writing"), std::string::npos);
}

TEST_F(Shards, IndexesThatAreWrongAreRefused) {
  WriteSources();
  ASSERT_TRUE(Tokenise("out", 2).ok());
  const std::string good = Slurp("out/index.json");
  const auto error = [&](const std::string& from, const std::string& to) {
    std::string bad = good;
    EXPECT_NE(bad.find(from), std::string::npos) << from;
    bad.replace(bad.find(from), from.size(), to);
    Write("out/index.json", bad);
    const auto folder = ShardFolder::Open(Path("out"));
    return folder.ok() ? "" : folder.status().message();
  };
  for (const auto& [from, to, part] : std::vector<std::tuple<std::string, std::string, std::string>>{
           {"{", "", "not valid JSON"},
           {"token shards", "tokens", "no index of token shards"},
           {"\"version\": 1", "\"version\": 2", "version 2"},
           {"\"vocab_size\": 259", "\"vocab_size\": 260", "another tokenizer"},
           {"\"vocab_size\": 259", "\"vocab_size\": 0", "vocab_size"},
           {"\"vocab_size\": 259", "\"vocab_size\": -1", "vocab_size"},
           {"\"eos_id\": 256", "\"eos_id\": 259", "not in the vocabulary"},
           {"\"tokenizer_digest\": \"", "\"tokenizer_digest\": \"z", "16 hexadecimal digits"},
           {"\"train\"", "\"brain\"", "\"train\" is missing"},
           {"\"documents\": ", "\"documents\": 1", "but the files have"},
           {"train-00000.tokens", "../x", "no file of the folder"},
           {"train-00000.tokens", "none.tokens", "does not exist"}}) {
    EXPECT_NE(error(from, to).find(part), std::string::npos)
        << from << " -> " << to << ": " << error(from, to);
  }
  EXPECT_NE(ShardFolder::Open(Path("nowhere")).status().message().find("index.json"), std::string::npos);
}

TEST_F(Shards, RowsComeOutOfAFolder) {
  WriteSources();
  ASSERT_TRUE(Tokenise("out", 2).ok());
  const auto folder = ShardFolder::Open(Path("out"));
  ASSERT_TRUE(folder.ok());
  const auto stream = DocumentStream::Make({{&folder->train}}, {.seed = 1, .repeat = false});
  ASSERT_TRUE(stream.ok());
  int64_t tokens = 0, targets = 0;
  for (int64_t at = 0; at < stream->end(); at += 100) {
    const auto row = stream->Pack(at, 100);
    ASSERT_TRUE(row.ok());
    tokens += static_cast<int64_t>(row->ids.size());
    targets += row->CountTargets();
  }
  EXPECT_EQ(tokens, folder->train.tokens());
  EXPECT_EQ(targets, folder->train.targets());
}

// Another answer would move texts from what was held out into what is trained on.
TEST(IsHeldOut, DecidesAsItAlwaysDid) {
  std::string held;
  for (int i = 0; i < 100; ++i) {
    const std::string text = fmt::format("text {}", i);
    if (!IsHeldOut(text, 0.1)) continue;
    held += fmt::format("{} ", i);
    EXPECT_TRUE(IsHeldOut(text, 0.2));
  }
  EXPECT_EQ(held, "5 13 20 36 58 60 66 67 78 80 ");
}

TEST(TokenizerDigest, TellsTokenizersApart) {
  const uint64_t digest = TokenizerDigest(ByteTokenizer());
  EXPECT_EQ(TokenizerDigest(ByteTokenizer()), digest);
  const auto other = tokenizer::BpeTrainer::Make({.vocab_size = 259});
  const auto trained = tokenizer::Tokenizer::FromJson(other->TokenizerJson(other->Train([](double) {})), "");
  EXPECT_NE(TokenizerDigest(*trained), digest);
}

}  // namespace
}  // namespace fusiontree::data
