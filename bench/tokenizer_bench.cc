// How fast text becomes ids on one thread: tokenizer_bench MODEL TEXT_FILE [IDS_OUT]
// Prints the load time and MB/s (of processor time) of three passes (the first begins with empty caches);
// with IDS_OUT writes the ids one a line, to be compared with another tokenizer's
// (tools/compare_tokenizer.py).
#include <fmt/core.h>

#include <ctime>
#include <fstream>
#include <sstream>

#include "checkpoint/checkpoint.h"
#include "tokenizer/tokenizer.h"

namespace {

// Processor time, which other load on the machine does not stretch much; there is one thread.
double Now() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }
double Since(double begin) { return Now() - begin; }

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3 && argc != 4) {
    fmt::print(stderr, "usage: tokenizer_bench MODEL TEXT_FILE [IDS_OUT]\n");
    return 2;
  }
  const auto checkpoint = fusiontree::checkpoint::Checkpoint::Open(argv[1]);
  if (!checkpoint.ok()) {
    fmt::print(stderr, "{}\n", checkpoint.status().message());
    return 2;
  }
  auto begin = Now();
  const auto tokenizer = fusiontree::tokenizer::Tokenizer::Load(*checkpoint);
  if (!tokenizer.ok()) {
    fmt::print(stderr, "{}\n", tokenizer.status().message());
    return 2;
  }
  fmt::print("load {:.3f} s, {}\n", Since(begin), tokenizer->description());

  std::ifstream file(argv[2], std::ios::binary);
  std::ostringstream all;
  all << file.rdbuf();
  const std::string text = all.str();
  std::vector<int32_t> ids;
  for (int pass = 0; pass < 3; ++pass) {
    begin = Now();
    auto encoded = tokenizer->Encode(text);
    const double seconds = Since(begin);
    if (!encoded.ok()) {
      fmt::print(stderr, "{}\n", encoded.status().message());
      return 2;
    }
    ids = std::move(encoded).value();
    fmt::print("encode {} bytes to {} ids in {:.3f} s: {:.1f} MB/s\n", text.size(), ids.size(), seconds,
               static_cast<double>(text.size()) / seconds / 1e6);
  }
  begin = Now();
  const auto decoded = tokenizer->Decode(ids);
  fmt::print("decode in {:.3f} s, {}\n", Since(begin),
             !decoded.ok()      ? decoded.status().message()
             : *decoded == text ? "equal"
                                : "differs from the text");
  if (argc == 4) {
    std::ofstream out(argv[3]);
    for (const int32_t id : ids) out << id << '\n';
  }
  return 0;
}
