#include "report/tensorboard.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <bit>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>

namespace fusiontree::report {
namespace {

namespace fs = std::filesystem;

// The reader's side of the format, as its specification has it: nothing of the writer is used but CRC-32C,
// which has known answers of its own.
struct Field {
  uint64_t integer = 0;  // of wire types 0, 1 and 5
  std::string bytes;     // of wire type 2
};
using Message = std::multimap<uint64_t, Field>;

uint64_t Varint(const std::string& bytes, size_t* at) {
  uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    const auto byte = static_cast<uint8_t>(bytes.at((*at)++));
    value |= uint64_t{byte & 0x7Fu} << shift;
    if (byte < 0x80) return value;
  }
}

template <typename T>
T Raw(const std::string& bytes, size_t at) {
  T value;
  EXPECT_LE(at + sizeof(T), bytes.size());
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

Message Parse(const std::string& bytes) {
  Message message;
  for (size_t at = 0; at < bytes.size();) {
    const uint64_t key = Varint(bytes, &at);
    Field field;
    switch (key & 7) {
      case 0:
        field.integer = Varint(bytes, &at);
        break;
      case 1:
        field.integer = Raw<uint64_t>(bytes, at);
        at += 8;
        break;
      case 2: {
        const uint64_t size = Varint(bytes, &at);
        field.bytes = bytes.substr(at, size);
        EXPECT_EQ(field.bytes.size(), size);
        at += size;
        break;
      }
      case 5:
        field.integer = Raw<uint32_t>(bytes, at);
        at += 4;
        break;
      default:
        ADD_FAILURE() << "wire type " << (key & 7);
        return message;
    }
    message.emplace(key >> 3, std::move(field));
  }
  return message;
}

const Field& Only(const Message& message, uint64_t number) {
  EXPECT_EQ(message.count(number), 1u) << "field " << number;
  static const Field kNone;
  const auto found = message.find(number);
  return found == message.end() ? kNone : found->second;
}
double Double(const Field& field) { return std::bit_cast<double>(field.integer); }
float Float(const Field& field) { return std::bit_cast<float>(static_cast<uint32_t>(field.integer)); }
std::vector<double> Doubles(const Field& field) {
  std::vector<double> values(field.bytes.size() / 8);
  std::memcpy(values.data(), field.bytes.data(), values.size() * 8);
  return values;
}

uint32_t Unmasked(uint32_t masked) {
  const uint32_t rotated = masked - 0xA282EAD8u;
  return rotated >> 17 | rotated << 15;
}

std::vector<Message> Events(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  std::vector<Message> events;
  for (size_t at = 0; at < bytes.size();) {
    const auto size = Raw<uint64_t>(bytes, at);
    EXPECT_EQ(Unmasked(Raw<uint32_t>(bytes, at + 8)), Crc32c(bytes.substr(at, 8)));
    const std::string payload = bytes.substr(at + 12, size);
    EXPECT_EQ(payload.size(), size);
    EXPECT_EQ(Unmasked(Raw<uint32_t>(bytes, at + 12 + size)), Crc32c(payload));
    events.push_back(Parse(payload));
    at += 16 + size;
  }
  return events;
}

class EventFileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "events-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  // FUSIONTREE_KEEP_EVENTS=<folder> keeps the files there, for tools/check_tensorboard.py.
  void TearDown() override {
    if (const char* keep = std::getenv("FUSIONTREE_KEEP_EVENTS"))
      fs::copy(folder_, fs::path(keep) / testing::UnitTest::GetInstance()->current_test_info()->name(),
               fs::copy_options::recursive | fs::copy_options::overwrite_existing);
    fs::remove_all(folder_);
  }
  fs::path folder_;
};

TEST(Crc32c, HasTheKnownAnswers) {
  EXPECT_EQ(Crc32c(""), 0u);
  EXPECT_EQ(Crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8A9136AAu);  // RFC 3720, B.4
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62A8AB43u);
}

TEST_F(EventFileTest, ScalarsAndHistogramsAreWhatWasGiven) {
  auto file = EventFile::Create(folder_, 1700000000, "node/1");
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_EQ(file->path(), (folder_ / "events.out.tfevents.1700000000.node_1").string());
  file->AddScalar("loss/lm", 300, 1700000001.5, 3.25);
  file->AddScalar("loss/total", 300, 1700000001.5, -1e-3);
  file->AddHistogram("gate/layer 0", 300, 1700000001.5, EqualBins({1, 0, 3, 4}, 0, 1, 0.5, 0.25));
  file->AddScalar("loss/lm", 301, 1700000002.5, 3);
  ASSERT_TRUE(file->Flush().ok());

  const std::vector<Message> events = Events(file->path());
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(Only(events[0], 3).bytes, "brain.Event:2");
  EXPECT_EQ(Double(Only(events[0], 1)), 1700000000);
  EXPECT_EQ(Only(events[1], 2).integer, 300u);
  EXPECT_EQ(Double(Only(events[1], 1)), 1700000001.5);
  const Message summary = Parse(Only(events[1], 5).bytes);
  ASSERT_EQ(summary.count(1), 3u);
  auto entry = summary.lower_bound(1);
  const Message lm = Parse((entry++)->second.bytes), total = Parse((entry++)->second.bytes);
  EXPECT_EQ(Only(lm, 1).bytes, "loss/lm");
  EXPECT_EQ(Float(Only(lm, 2)), 3.25f);
  EXPECT_EQ(Float(Only(total, 2)), -1e-3f);
  const Message gate = Parse(entry->second.bytes);
  EXPECT_EQ(Only(gate, 1).bytes, "gate/layer 0");
  const Message histogram = Parse(Only(gate, 5).bytes);
  EXPECT_EQ(Double(Only(histogram, 1)), 0);
  EXPECT_EQ(Double(Only(histogram, 2)), 1);
  EXPECT_EQ(Double(Only(histogram, 3)), 8);
  EXPECT_EQ(Double(Only(histogram, 4)), 4);
  EXPECT_EQ(Double(Only(histogram, 5)), 8 * (0.25 + 0.0625));
  EXPECT_EQ(Doubles(Only(histogram, 6)), (std::vector<double>{0.25, 0.5, 0.75, 1}));
  EXPECT_EQ(Doubles(Only(histogram, 7)), (std::vector<double>{1, 0, 3, 4}));
  EXPECT_EQ(Only(events[2], 2).integer, 301u);
}

TEST_F(EventFileTest, EveryFlushIsInTheFile) {
  auto file = EventFile::Create(folder_, 1700000000, "host");
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(Events(file->path()).size(), 1u);  // TensorBoard can open it at once
  for (int step = 1; step <= 5; ++step) {
    file->AddScalar("loss", step, 1700000000 + step, 1.0 / step);
    EXPECT_EQ(Events(file->path()).size(), static_cast<size_t>(step));
    ASSERT_TRUE(file->Flush().ok());
    EXPECT_EQ(Events(file->path()).size(), static_cast<size_t>(step) + 1);
  }
}

TEST_F(EventFileTest, ARestartWritesAnotherFileAndSaysFromWhichStep) {
  auto first = EventFile::Create(folder_, 1700000000, "host");
  ASSERT_TRUE(first.ok());
  for (int step = 1; step <= 5; ++step) first->AddScalar("loss", step, 1700000000 + step, step);
  ASSERT_TRUE(first->Flush().ok());
  // Within the same second, too: nothing is ever overwritten.
  for (const int64_t seconds : {1700000000, 1700000100}) {
    auto second = EventFile::Create(folder_, seconds, "host", 4);
    ASSERT_TRUE(second.ok());
    for (int step = 4; step <= 6; ++step) second->AddScalar("loss", step, 1700000200 + step, 10 * step);
    ASSERT_TRUE(second->Flush().ok());
    const std::vector<Message> events = Events(second->path());
    ASSERT_EQ(events.size(), 5u);
    EXPECT_EQ(Only(events[1], 2).integer, 4u);
    EXPECT_EQ(Only(Parse(Only(events[1], 7).bytes), 1).integer, 1u);  // SessionLog START
  }
  EXPECT_EQ(Events(first->path()).size(), 6u);
  EXPECT_TRUE(fs::exists(folder_ / "events.out.tfevents.1700000000.host.1"));
  EXPECT_TRUE(fs::exists(folder_ / "events.out.tfevents.1700000100.host"));
}

TEST_F(EventFileTest, AFullDiskLeavesWholeRecordsAndLosesNone) {
  auto file = EventFile::Create(folder_, 1700000000, "host");
  ASSERT_TRUE(file.ok());
  // A limit on the size of files stands for the disk: part of the record is written, then no more.
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit old_limit;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  rlimit limit = {fs::file_size(file->path()) + 10, old_limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  file->AddScalar("loss", 1, 1700000001, 3);
  const base::Status status = file->Flush();
  setrlimit(RLIMIT_FSIZE, &old_limit);
  std::signal(SIGXFSZ, old_handler);
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.message().find("cannot be written: File too large"), std::string::npos)
      << status.message();
  EXPECT_EQ(Events(file->path()).size(), 1u);
  file->AddScalar("loss", 2, 1700000002, 2);
  ASSERT_TRUE(file->Flush().ok());
  EXPECT_EQ(Events(file->path()).size(), 3u);
}

TEST_F(EventFileTest, ErrorsNameTheFile) {
  const auto absent = EventFile::Create(folder_ / "absent", 1, "host");
  ASSERT_FALSE(absent.ok());
  EXPECT_NE(absent.status().message().find("absent/events.out.tfevents.0000000001.host"), std::string::npos);
}

}  // namespace
}  // namespace fusiontree::report
