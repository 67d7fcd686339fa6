#include "checkpoint/checkpoint.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <thread>
#include <vector>

#include "checkpoint/test_folder.h"

namespace fusiontree::checkpoint {
namespace {

namespace fs = std::filesystem;

#define EXPECT_HAS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

// "a" [4] of U8 and "b" [2] of F32.
const char kHeader[] =
    R"({"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]},"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})";

std::string OneTensor(const std::string& name) {
  return SafetensorsFile("{\"" + name + R"(":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 4);
}

class CheckpointTest : public FolderTest {
 protected:
  std::string Error(const std::string& path) const {
    const auto result = Checkpoint::Open(path);
    if (result.ok()) return "accepted";
    EXPECT_EQ(result.status().kind(), base::ErrorKind::kBadInput);
    EXPECT_EQ(result.status().message().find('\n'), std::string::npos);
    return result.status().message();
  }
  std::string Error() const { return Error(folder()); }
  void PutIndex(const std::string& map) const {
    Put("model.safetensors.index.json", "{\"metadata\":{\"total_size\":8},\"weight_map\":" + map + "}");
  }
};

TEST_F(CheckpointTest, FolderWithOneFile) {
  Put("model.safetensors", SafetensorsFile(kHeader, 12));
  Put("config.json", "{\"x\":1}");
  auto opened = Checkpoint::Open(folder());
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  const Checkpoint checkpoint = std::move(opened).value();
  EXPECT_EQ(checkpoint.format(), Checkpoint::Format::kSafetensors);
  EXPECT_EQ(checkpoint.path(), folder());
  ASSERT_EQ(checkpoint.tensors().size(), 2u);
  EXPECT_EQ(checkpoint.tensors()[0].name, "a");
  EXPECT_EQ(checkpoint.tensors()[1].name, "b");
  EXPECT_EQ(checkpoint.Find("c"), nullptr);
  EXPECT_EQ(checkpoint.Find(""), nullptr);
  const TensorInfo* b = checkpoint.Find("b");
  ASSERT_NE(b, nullptr);
  char data[8];
  EXPECT_EQ(checkpoint.bytes_read(), 0u);
  ASSERT_TRUE(checkpoint.Read(*b, 0, 8, data).ok());
  EXPECT_EQ(std::string(data, 8), std::string("\4\5\6\7\10\11\12\13"));
  ASSERT_TRUE(checkpoint.Read(*b, 5, 2, data).ok());
  EXPECT_EQ(std::string(data, 2), "\11\12");
  ASSERT_TRUE(checkpoint.Read(*b, 8, 0, data).ok());
  EXPECT_EQ(checkpoint.bytes_read(), 10u);
  EXPECT_EQ(*checkpoint.ReadText("config.json").value(), "{\"x\":1}");
  EXPECT_EQ(checkpoint.ReadText("absent.json").value(), std::nullopt);
  EXPECT_TRUE(checkpoint.metadata().values().empty());
}

TEST_F(CheckpointTest, ReadTextRefusesWhatIsNotAPlainFileBeside) {
  Put("model.safetensors", SafetensorsFile(kHeader, 12));
  fs::create_directory(Path("folder.json"));
  ASSERT_EQ(mkfifo(Path("fifo.json").c_str(), 0600), 0);
  fs::create_symlink("nowhere", Path("broken.json"));
  Put("huge.json", "");
  fs::resize_file(Path("huge.json"), (256u << 20) + 1);
  const auto opened = Checkpoint::Open(folder());
  ASSERT_TRUE(opened.ok());
  const auto error = [&](const char* name) { return (*opened).ReadText(name).status().message(); };
  EXPECT_HAS(error("folder.json"), "folder.json\" must be a plain file, but is a folder");
  EXPECT_HAS(error("fifo.json"), "fifo.json\" must be a plain file, but is a FIFO");
  EXPECT_HAS(error("broken.json"), "broken.json\" is a link to a file that does not exist");
  EXPECT_HAS(error("huge.json"), "huge.json\" has 268435457 bytes, above the limit");
  EXPECT_HAS(error("../x"), "\"../x\" must be the name of a file");
  EXPECT_HAS(error("/etc/passwd"), "must be the name of a file");
}

TEST_F(CheckpointTest, ThreadsReadAtOnce) {
  std::string header = R"({"w":{"dtype":"U8","shape":[65536],"data_offsets":[0,65536]}})";
  Put("model.safetensors", SafetensorsFile(header, 65536));
  const auto opened = Checkpoint::Open(folder());
  ASSERT_TRUE(opened.ok());
  const Checkpoint& checkpoint = *opened;
  std::vector<int> wrong(4, 0);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t begin = static_cast<uint64_t>(t); begin + 100 <= 65536; begin += 997) {
        uint8_t data[100] = {};
        if (!checkpoint.Read(checkpoint.tensors()[0], begin, 100, data).ok()) ++wrong[static_cast<size_t>(t)];
        for (uint64_t i = 0; i < 100; ++i)
          wrong[static_cast<size_t>(t)] += data[i] != static_cast<uint8_t>(begin + i);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
  EXPECT_EQ(checkpoint.bytes_read(), 4u * 66 * 100);
}

TEST_F(CheckpointTest, FileThatBecomesShorterIsAnError) {
  Put("model.safetensors", SafetensorsFile(kHeader, 12));
  const auto opened = Checkpoint::Open(folder());
  ASSERT_TRUE(opened.ok());
  fs::resize_file(Path("model.safetensors"), fs::file_size(Path("model.safetensors")) - 1);
  char data[8];
  const base::Status status = (*opened).Read(*(*opened).Find("b"), 0, 8, data);
  EXPECT_HAS(status.message(), "reading tensor \"b\"");
  EXPECT_HAS(status.message(), "model.safetensors\" has become shorter");
}

TEST_F(CheckpointTest, CutFilesAndHeaderErrorsNameTheFile) {
  const std::string whole = SafetensorsFile(kHeader, 12);
  for (size_t size = 0; size < whole.size(); ++size) {
    Put("model.safetensors", whole.substr(0, size));
    EXPECT_HAS(Error(), "model.safetensors\": ");
  }
  Put("model.safetensors", whole + "x");
  EXPECT_HAS(Error(), "model.safetensors\": the tensors cover 12 bytes of data, but the file has 13");
}

TEST_F(CheckpointTest, LoneFile) {
  Put("x.safetensors", OneTensor("a"));
  EXPECT_HAS(Error(Path("x.safetensors")), "x.safetensors\" has no config.json beside it");
  const auto dump = Checkpoint::OpenTensors(Path("x.safetensors"));
  ASSERT_TRUE(dump.ok());
  EXPECT_NE((*dump).Find("a"), nullptr);
  Put("config.json", "{}");
  const auto opened = Checkpoint::Open(Path("x.safetensors"));
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  EXPECT_EQ(*(*opened).ReadText("config.json").value(), "{}");
  EXPECT_HAS(Error(),
             "has no model.safetensors and no model.safetensors.index.json; to open \"x.safetensors\" give "
             "its path");
}

TEST_F(CheckpointTest, FoldersWithoutWeights) {
  EXPECT_HAS(Error(), folder() + "\" is empty");
  Put("config.json", "{}");
  EXPECT_HAS(Error(), "has no model.safetensors and no model.safetensors.index.json");
  Put("pytorch_model-00002-of-00002.bin", "x");
  Put("pytorch_model-00001-of-00002.bin", "x");
  EXPECT_HAS(Error(), "only \"pytorch_model-00001-of-00002.bin\", a pickle");
  EXPECT_HAS(Error(Path("pytorch_model-00001-of-00002.bin")), "looks like a pickle");
  Put("m.gguf", "x");
  EXPECT_HAS(Error(), "to open \"m.gguf\" give its path");
}

TEST_F(CheckpointTest, WrongPaths) {
  EXPECT_HAS(Error(Path("absent")), "absent\" does not exist");
  EXPECT_HAS(Error(Path("absent/x.gguf")), "does not exist");
  EXPECT_HAS(Error(""), "\"\" does not exist");
  EXPECT_HAS(Error("/dev/null"), "\"/dev/null\" must be a plain file, but is a device");
  EXPECT_HAS(Error(Path(std::string(5000, 'x'))), "cannot be opened");
  ASSERT_EQ(mkfifo(Path("f.gguf").c_str(), 0600), 0);
  EXPECT_HAS(Error(Path("f.gguf")), "f.gguf\" must be a plain file, but is a FIFO");
  Put("notes.txt", "hello");
  EXPECT_HAS(Error(Path("notes.txt")), "neither a model folder nor a .gguf nor a .safetensors file");
  fs::create_directory(Path("model.safetensors"));
  EXPECT_HAS(Error(), "model.safetensors\" must be a plain file, but is a folder");
  fs::remove(Path("model.safetensors"));
  ASSERT_EQ(mkfifo(Path("model.safetensors").c_str(), 0600), 0);
  EXPECT_HAS(Error(), "model.safetensors\" must be a plain file, but is a FIFO");
  fs::remove(Path("model.safetensors"));
  fs::create_symlink("/dev/zero", Path("model.safetensors"));
  EXPECT_HAS(Error(), "model.safetensors\" must be a plain file, but is a device");
  fs::remove(Path("model.safetensors"));
  fs::create_symlink("loop", Path("loop"));
  EXPECT_HAS(Error(Path("loop")), "cannot be opened");
}

TEST_F(CheckpointTest, Shards) {
  PutIndex(R"({"a":"1.safetensors","b":"2.safetensors"})");
  Put("1.safetensors", OneTensor("a"));
  EXPECT_HAS(Error(), "the shard \"2.safetensors\" named in ");
  Put("2.safetensors", OneTensor("b"));
  const auto opened = Checkpoint::Open(folder());
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  ASSERT_EQ((*opened).tensors().size(), 2u);
  EXPECT_NE((*opened).Find("a")->file, (*opened).Find("b")->file);
  char data[4];
  EXPECT_TRUE((*opened).Read(*(*opened).Find("b"), 0, 4, data).ok());

  PutIndex(R"({"a":"1.safetensors","b":"2.safetensors","c":"2.safetensors"})");
  EXPECT_HAS(Error(), "tensor \"c\" is not in the shard \"2.safetensors\"");
  PutIndex(R"({"a":"1.safetensors","b":"1.safetensors"})");
  EXPECT_HAS(Error(), "tensor \"b\" is not in the shard \"1.safetensors\"");
  Put("2.safetensors", SafetensorsFile(R"({"b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
                                       R"("c":{"dtype":"U8","shape":[0],"data_offsets":[4,4]}})",
                                       4));
  PutIndex(R"({"a":"1.safetensors","b":"2.safetensors"})");
  EXPECT_HAS(Error(), "tensor \"c\" is in the shard \"2.safetensors\", but not in ");
  Put("2.safetensors", OneTensor("a"));
  EXPECT_HAS(Error(), "tensor \"a\" is in two shards, \"1.safetensors\" and \"2.safetensors\"");
  Put("1.safetensors", OneTensor("b"));
  EXPECT_HAS(Error(), "tensor \"b\" is in the shard \"1.safetensors\", but ");
  Put("2.safetensors", "short");
  EXPECT_HAS(Error(), "2.safetensors\": the file has 5 bytes");
  fs::remove(Path("2.safetensors"));
  ASSERT_EQ(mkfifo(Path("2.safetensors").c_str(), 0600), 0);
  EXPECT_HAS(Error(), "2.safetensors\" must be a plain file, but is a FIFO");
  Put("model.safetensors.index.json", "[]");
  EXPECT_HAS(Error(), "model.safetensors.index.json\": the shard index: it is not a JSON object");
}

TEST_F(CheckpointTest, ShardsOutsideTheFolder) {
  Put("outside/1.safetensors", OneTensor("a"));
  Put("model/inside", OneTensor("a"));
  const std::string index = "model/model.safetensors.index.json";
  for (const std::string& shard : {std::string("../outside/1.safetensors"), Path("outside/1.safetensors")}) {
    Put(index, "{\"weight_map\":{\"a\":\"" + shard + "\"}}");
    EXPECT_HAS(Error(Path("model")), "of tensor \"a\" must be the name of a file in the same folder");
  }
  Put(index, R"({"weight_map":{"a":"link.safetensors"}})");
  fs::create_symlink("../outside/1.safetensors", Path("model/link.safetensors"));
  EXPECT_HAS(Error(Path("model")), "the shard \"link.safetensors\" is a link that leaves the folder");
  fs::remove(Path("model/link.safetensors"));
  fs::create_symlink("nowhere", Path("model/link.safetensors"));
  EXPECT_HAS(Error(Path("model")), "link.safetensors\" is a link to a file that does not exist");
  fs::remove(Path("model/link.safetensors"));
  fs::create_symlink("inside", Path("model/link.safetensors"));
  EXPECT_EQ(Error(Path("model")), "accepted");
  // The folder itself may be reached through a link.
  fs::create_directory_symlink("model", Path("alias"));
  EXPECT_EQ(Error(Path("alias")), "accepted");
}

TEST_F(CheckpointTest, HubCacheLinksIntoBlobs) {
  Put("hub/blobs/1234", OneTensor("a"));
  Put("hub/other/1234", OneTensor("a"));
  Put("hub/snapshots/main/model.safetensors.index.json", R"({"weight_map":{"a":"s.safetensors"}})");
  const std::string shard = Path("hub/snapshots/main/s.safetensors");
  fs::create_symlink("../../blobs/1234", shard);
  EXPECT_EQ(Error(Path("hub/snapshots/main")), "accepted");
  fs::remove(shard);
  fs::create_symlink("../../other/1234", shard);
  EXPECT_HAS(Error(Path("hub/snapshots/main")), "\"s.safetensors\" is a link that leaves the folder");
}

TEST_F(CheckpointTest, GgufFile) {
  fs::copy(FUSIONTREE_TESTDATA "/fuzz/gguf_fuzz/valid", Path("m.gguf"));
  Put("config.json", "{}");
  const auto opened = Checkpoint::Open(Path("m.gguf"));
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  EXPECT_EQ((*opened).format(), Checkpoint::Format::kGguf);
  EXPECT_TRUE((*opened).metadata().Has("general.architecture"));
  EXPECT_EQ((*opened).ReadText("config.json").value(), std::nullopt);
  const TensorInfo* f32 = (*opened).Find("t.F32");
  ASSERT_NE(f32, nullptr);
  std::vector<float> values(512);
  ASSERT_TRUE((*opened).Read(*f32, 0, f32->bytes, values.data()).ok());
  for (size_t i = 0; i < values.size(); ++i) ASSERT_EQ(values[i], static_cast<float>(i));
  // Known by its content under any name, and by its name with any content.
  fs::rename(Path("m.gguf"), Path("m"));
  EXPECT_EQ(Error(Path("m")), "accepted");
  Put("n.gguf", "");
  EXPECT_HAS(Error(Path("n.gguf")), "n.gguf\": the magic \"GGUF\" at byte 0 needs 4 bytes");
  Put("n.gguf", "junkjunk");
  EXPECT_HAS(Error(Path("n.gguf")), "n.gguf\": the file starts with \"junk\"");
}

TEST_F(CheckpointTest, GgufHeaderLongerThanTheFirstReadAndThanTheLimit) {
  const auto u64 = [](uint64_t value) { return std::string(reinterpret_cast<const char*>(&value), 8); };
  const auto start = [&](uint64_t length) {
    return std::string("GGUF\3\0\0\0", 8) + u64(0) + u64(1) + u64(1) + "k" + std::string("\10\0\0\0", 4) +
           u64(length);
  };
  Put("m.gguf", start(20u << 20));
  fs::resize_file(Path("m.gguf"), start(0).size() + (20u << 20));
  const auto opened = Checkpoint::Open(Path("m.gguf"));
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  EXPECT_EQ((*opened).metadata().Get<std::string>("k").value().size(), 20u << 20);
  Put("m.gguf", start(1u << 30));
  fs::resize_file(Path("m.gguf"), (1u << 30) + 1000);  // sparse
  EXPECT_HAS(Error(Path("m.gguf")), "m.gguf\": the GGUF header is larger than 134217728 bytes");
}

}  // namespace
}  // namespace fusiontree::checkpoint
