// R12: the bits of every entry of every variant on seeded inputs, as hashes in testdata/digests/kernels.txt.
// The same file is compared on whatever processor, compiler and preset runs the tests. To write it anew after
// a change of the contract: FUSIONTREE_WRITE_DIGESTS=1 kernels_test --gtest_filter='Digests*', and raise the
// version.
#include <stdlib.h>

#include <fstream>
#include <functional>
#include <map>
#include <sstream>

#include "kernels/kernels_testing.h"

namespace fusiontree::kernels {
namespace {

const char* const kFile = FUSIONTREE_TESTDATA "/digests/kernels.txt";

class Hash {  // FNV-1a
 public:
  void Add(const void* data, size_t size) {
    for (size_t i = 0; i < size; ++i) {
      state_ = (state_ ^ static_cast<const unsigned char*>(data)[i]) * 0x100000001b3u;
    }
  }
  void Add(const std::vector<float>& v) { Add(v.data(), v.size() * sizeof(float)); }
  std::string Hex() const {
    char text[17];
    snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(state_));
    return text;
  }

 private:
  uint64_t state_ = 0xcbf29ce484222325u;
};

// Values of few bits, made without libm, so that every compiler draws the same.
std::vector<float> Values(uint64_t seed, int64_t n, float scale) {
  Draw draw(seed);
  std::vector<float> v;
  for (int64_t i = 0; i < n; ++i) v.push_back(static_cast<float>(draw.Below(4001) - 2000) * 0.001f * scale);
  return v;
}

std::string Matmul(const Table& table, MatrixKind kind) {
  const MatrixOps& ops = table.matrix[kind];
  Hash hash;
  for (const int64_t m : {1, 5, 37}) {
    const int64_t k = 390, slices = 6, n = 128, stride = 416;
    const std::vector<float> x = Values(1, m * stride, 1.0f), w = Values(2, n * k, 0.25f),
                             bias = Values(3, n, 1.0f);
    std::vector<uint16_t> w16;
    for (const float v : w) {
      const uint32_t bits = BitsOf(v);
      const uint32_t half = (bits >> 23 & 0xff) <= 113 ? 0 : (bits >> 13 & 0x3ffff) - (112u << 10);
      w16.push_back(kind == kF16F32 ? static_cast<uint16_t>((bits >> 16 & 0x8000) | half) : ToBf16(v));
    }
    const size_t size = kind == kF32F32 ? 4 : 2, panel = ops.panel_bytes(k, slices);
    const char* source =
        kind == kF32F32 ? reinterpret_cast<const char*>(w.data()) : reinterpret_cast<const char*>(w16.data());
    Bytes weight(panel * 4), rows(ops.rows_bytes(m, k, slices)), scratch(kScratchBytes);
    for (size_t p = 0; p < 4; ++p) {
      ops.pack_weight(source + p * 32 * static_cast<size_t>(k) * size, static_cast<size_t>(k) * size, 32, k,
                      slices, static_cast<char*>(weight.data()) + p * panel);
    }
    const int64_t groups = (m + ops.rows_per_group - 1) / ops.rows_per_group;
    ops.pack_rows(x.data(), stride, m, k, slices, 0, groups, rows.data());
    for (const Epilogue epilogue : {kStore, kAdd, kSiluMul}) {
      std::vector<float> out = Values(4, m * n, 1.0f);
      const MatmulArgs args = {rows.data(), m, 0,        groups,      weight.data(), k, slices,
                               0,           4, epilogue, bias.data(), out.data(),    n, scratch.data()};
      ops.matmul(&args);
      hash.Add(out);
    }
  }
  return hash.Hex();
}

std::string Attention(const Table& table, AttentionKind kind) {
  const AttentionOps& ops = table.attention[kind];
  Hash hash;
  for (const int64_t queries : {1, 9}) {
    const int64_t d = 64, heads = 7, keys = 200, rows = queries * heads;
    const std::vector<float> q = Values(5, rows * d, 2.0f), k = Values(6, keys * d, 1.0f),
                             v = Values(7, keys * d, 1.0f);
    const size_t block = ops.block_bytes(d);
    Bytes cache(4 * block), scratch(kScratchBytes);
    std::vector<const void*> blocks;
    for (size_t b = 0; b < 4; ++b) blocks.push_back(static_cast<char*>(cache.data()) + b * block);
    for (int64_t j = 0; j < keys; ++j) {
      ops.write(const_cast<void*>(blocks[static_cast<size_t>(j / 64)]), j % 64, d, k.data() + j * d,
                v.data() + j * d);
    }
    for (const int64_t window : {0, 90}) {
      std::vector<float> max(static_cast<size_t>(rows)), sum = max, acc(static_cast<size_t>(rows * d));
      const AttentionArgs args = {
          blocks.data(),  0,      keys,   q.data(),   heads * d,  queries,    heads, d,
          keys - queries, window, 0.125f, max.data(), sum.data(), acc.data(), d,     scratch.data()};
      ops.split(&args);
      std::vector<float> out(acc.size());
      table.attention_finish(queries, heads, d, d, sum.data(), acc.data(), out.data(), heads * d);
      hash.Add(max);
      hash.Add(sum);
      hash.Add(acc);
      hash.Add(out);
    }
  }
  return hash.Hex();
}

std::string Rows(const Table& table) {
  Hash hash;
  for (const int64_t n : {1, 30, 64, 897, 9001}) {
    std::vector<float> x = Values(8, n, 9.0f), y = Values(9, n, 1.0f), out(x.size());
    table.rms_norm(x.data(), y.data(), n, 1e-6f, out.data());
    hash.Add(out);
    const float sum = table.exp_sum(x.data(), n, 3.5f, out.data());
    hash.Add(&sum, sizeof sum);
    hash.Add(out);
    const int64_t half = n / 2, best = table.argmax(x.data(), n);
    hash.Add(&best, sizeof best);
    table.rope(x.data(), y.data(), out.data(), half);
    hash.Add(x);
  }
  std::vector<float> max = {1.0f, -2.0f}, sum = {3.0f, 0.0f}, acc = Values(10, 128, 1.0f);
  const std::vector<float> max2 = {0.5f, 4.0f}, sum2 = {2.0f, 1.5f}, acc2 = Values(11, 128, 1.0f);
  table.attention_merge(2, 60, 64, max.data(), sum.data(), acc.data(), max2.data(), sum2.data(), acc2.data());
  hash.Add(max);
  hash.Add(sum);
  hash.Add(acc);
  return hash.Hex();
}

// No libm here either: the rates are plain values.
std::string Sequence(const Table& table) {
  Hash hash;
  const int64_t rows = 37, channels = 64;
  const std::vector<float> x = Values(12, rows * channels, 3.0f), z = Values(13, rows * channels, 4.0f),
                           weight = Values(14, 6 * channels, 1.0f), history = Values(15, 5 * channels, 1.0f);
  for (int f = 0; f < kFunctions; ++f) {
    std::vector<float> out(x.size());
    for (const float scale : {0.1f, 1.0f, 12.0f}) {
      const std::vector<float> in = Values(16, rows * channels, scale);
      table.apply[f](in.data(), rows * channels - 3, out.data());
      hash.Add(out);
    }
  }
  for (const int64_t width : {1, 4, 6}) {
    for (const ConvEnd end : {kConvSilu, kConvAddInput}) {
      std::vector<float> out(x.size());
      const ConvArgs args = {x.data(), channels, history.data(), channels, weight.data(),
                             channels, z.data(), rows,           width,    0,
                             channels, end,      out.data(),     channels};
      table.conv(&args);
      hash.Add(out);
    }
  }
  for (const int64_t n : {5, 8, 16, 70}) {
    std::vector<float> delta = Values(17, rows * channels, 1.0f), a = Values(18, n * channels, 1.0f),
                       state = Values(19, n * channels, 1.0f), out(x.size());
    const std::vector<float> bc = Values(20, rows * 2 * n, 1.0f);
    for (float& v : delta) v = v * v * v * v;
    for (float& v : a) v = -9.0f * v * v;
    const ScanArgs args = {x.data(),     delta.data(),  z.data(), channels, channels, channels,
                           bc.data(),    bc.data() + n, 2 * n,    a.data(), channels, z.data(),
                           state.data(), channels,      rows,     n,        0,        channels,
                           out.data(),   channels};
    table.scan(&args);
    ScanArgs decode = args;
    decode.rows = 1;
    decode.out = out.data() + channels;
    table.scan(&decode);
    hash.Add(state);
    hash.Add(out);
  }
  for (const int64_t n : {1, 30, 64, 897}) {
    std::vector<float> out(static_cast<size_t>(n));
    table.layer_norm(x.data(), z.data(), x.data() + 900, n, 1e-5f, out.data());
    hash.Add(out);
    table.mix(weight.data(), 0, x.data(), z.data(), n, out.data());
    hash.Add(out);
    table.mix(x.data() + 900, 1, x.data(), z.data(), n, out.data());
    hash.Add(out);
  }
  return hash.Hex();
}

std::string Backward(const Table& table) {
  const BackwardOps& ops = *table.backward;
  Hash hash;
  const int64_t rows = 21, channels = 96, all = rows * channels;
  const std::vector<float> x = Values(21, all, 3.0f), z = Values(22, all, 4.0f), dout = Values(23, all, 1.0f);
  std::vector<float> out(x.size());
  for (int f = 0; f < kFunctions; ++f) {
    ops.apply[f](z.data(), dout.data(), all - 5, out.data());
    hash.Add(out);
  }
  for (const int64_t width : {1, 4, 6}) {
    for (const ConvEnd end : {kConvSilu, kConvAddInput}) {
      std::vector<float> dweight = Values(24, 6 * channels, 1.0f), dbias = Values(25, channels, 1.0f);
      const ConvArgs forward = {x.data(), channels, z.data(), channels, dout.data(), channels, z.data(),
                                rows,     width,    0,        channels, end,         nullptr,  0};
      const ConvBackwardArgs args = {forward,  dout.data(),    channels, out.data(),
                                     channels, dweight.data(), channels, dbias.data()};
      ops.conv(&args);
      hash.Add(out);
      hash.Add(dweight);
      hash.Add(dbias);
    }
  }
  for (const int64_t n : {5, 16}) {
    std::vector<float> delta = Values(26, all, 1.0f), a = Values(27, n * channels, 1.0f),
                       state = Values(28, n * channels, 1.0f);
    for (float& v : delta) v = v * v * v * v;
    for (float& v : a) v = -9.0f * v * v;
    std::vector<float> grads(3 * x.size()), sums(static_cast<size_t>(4 * rows * n)),
        da = a, dskip = x, dstate = state,
        scratch(static_cast<size_t>((rows * (n + 1) + 4 * n) * kScanGroup));
    const std::vector<float> bc = Values(29, rows * 2 * n, 1.0f);
    const ScanArgs forward = {
        x.data(), delta.data(), z.data(), channels, channels,     channels, bc.data(), bc.data() + n,
        2 * n,    a.data(),     channels, z.data(), state.data(), channels, rows,      n,
        0,        channels,     nullptr,  0};
    const ScanBackwardArgs args = {forward,
                                   dout.data(),
                                   channels,
                                   grads.data(),
                                   grads.data() + all,
                                   grads.data() + 2 * all,
                                   channels,
                                   channels,
                                   channels,
                                   sums.data(),
                                   sums.data() + 2 * rows * n,
                                   n,
                                   rows * n,
                                   da.data(),
                                   channels,
                                   dskip.data(),
                                   dstate.data(),
                                   channels,
                                   scratch.data()};
    ops.scan(&args);
    for (const std::vector<float>* v : {&grads, &sums, &da, &dskip, &dstate}) hash.Add(*v);
  }
  for (const int64_t n : {1, 30, 64, 897}) {
    float stats[2];
    std::vector<float> dx(static_cast<size_t>(n)), dm = dx, da = dx;
    const NormBackwardArgs norm = {x.data(), z.data(), dout.data(), n, 1e-5f, dx.data(), stats};
    for (const auto& op : {ops.rms_norm, ops.layer_norm}) {
      op(&norm);
      hash.Add(dx);
      hash.Add(stats, sizeof stats);
      ops.norm_weight(x.data(), dout.data(), stats, n, dm.data(), da.data());
      hash.Add(dm);
    }
    for (const int64_t step : {0, 1}) {
      const MixBackwardArgs mix = {z.data(), step,      x.data(),  x.data() + 900, dout.data(),
                                   n,        dx.data(), dm.data(), da.data()};
      ops.mix(&mix);
      hash.Add(dx);
      hash.Add(dm);
      hash.Add(da);
    }
    ops.rope(dx.data(), x.data(), z.data(), n / 2);
    hash.Add(dx);
  }
  return hash.Hex();
}

std::string AttentionBackward(const Table& table) {
  Hash hash;
  const int64_t queries = 170, heads = 2, first_position = 40, keys = 64;
  const Bytes scratch(kScratchBytes);
  for (const int64_t d : {10, 32, 80}) {
    const std::vector<float> q = Values(30, queries * heads * d, 1.0f), k = Values(31, keys * d, 1.0f),
                             v = Values(32, keys * d, 1.0f), dout = Values(33, queries * heads * d, 1.0f),
                             out = Values(34, queries * heads * d, 0.5f),
                             max = Values(35, queries * heads, 2.0f);
    for (const int64_t window : {0, 50}) {
      for (const bool round : {false, true}) {
        std::vector<float> inverse_sum = max, dot(max.size()), dq = q, dk = k, dv = v;
        for (float& x : inverse_sum) x = x * x;
        for (int64_t i = 0; i < queries; ++i)
          table.backward->attention_dots(out.data() + i * heads * d, dout.data() + i * heads * d, heads, d,
                                         round, dot.data() + i * heads);
        const AttentionBackwardArgs args = {k.data(),
                                            v.data(),
                                            d,
                                            keys,
                                            64,
                                            q.data(),
                                            dout.data(),
                                            heads * d,
                                            heads * d,
                                            max.data(),
                                            inverse_sum.data(),
                                            dot.data(),
                                            heads,
                                            queries,
                                            heads,
                                            d,
                                            first_position,
                                            window,
                                            0.25f,
                                            round,
                                            dq.data(),
                                            heads * d,
                                            dk.data(),
                                            dv.data(),
                                            d,
                                            scratch.data()};
        table.backward->attention(&args);
        for (const std::vector<float>* of : {&dot, &dq, &dk, &dv}) hash.Add(*of);
      }
    }
  }
  return hash.Hex();
}

const std::vector<std::pair<std::string, std::function<std::string(const Table&)>>> kEntries = {
    {"matmul bf16 x bf16", [](const Table& t) { return Matmul(t, kBf16Bf16); }},
    {"matmul bf16 x fp32", [](const Table& t) { return Matmul(t, kBf16F32); }},
    {"matmul f16 x fp32", [](const Table& t) { return Matmul(t, kF16F32); }},
    {"matmul fp32 x fp32", [](const Table& t) { return Matmul(t, kF32F32); }},
    {"attention fp32", [](const Table& t) { return Attention(t, kAttentionF32); }},
    {"attention bf16", [](const Table& t) { return Attention(t, kAttentionBf16); }},
    {"rows", Rows},
    {"sequence", Sequence},
    {"backward", Backward},
    {"attention backward", AttentionBackward},
};

// Lines "entry: hash", one section a contract: "[fma]" is ref, avx2 and avx512.
std::string SectionOf(const Table* twin) {
  return twin == RefTable() ? "fma" : twin == RefAmxTable() ? "amx" : "avx512bf16";
}
std::map<std::string, std::string> ReadDigests() {
  std::map<std::string, std::string> digests;
  std::ifstream file(kFile);
  std::string line, section;
  while (std::getline(file, line)) {
    const size_t colon = line.find(": ");
    if (line.empty() || line[0] == '#') continue;
    if (line[0] == '[') {
      section = line.substr(1, line.size() - 2);
    } else if (colon != std::string::npos) {
      digests[section + " " + line.substr(0, colon)] = line.substr(colon + 2);
    }
  }
  return digests;
}

using DigestsTest = VariantTest;

void Compare(const Table& table, const Table* twin, const std::string& name) {
  const std::map<std::string, std::string> expected = ReadDigests();
  for (const auto& [entry, digest] : kEntries) {
    const auto line = expected.find(SectionOf(twin) + " " + entry);
    ASSERT_NE(line, expected.end()) << kFile << " has no line '" << entry << "' under [" << SectionOf(twin)
                                    << "]";
    EXPECT_EQ(digest(table), line->second) << name << ", " << entry;
  }
}

TEST_P(DigestsTest, AreTheCommittedOnes) { Compare(table(), &twin(), GetParam()); }

// The plain loops, on every processor: all three contracts are always compared.
TEST(Digests, OfThePlainLoopsAreTheCommittedOnes) {
  const unsigned csr = _mm_getcsr();
  _mm_setcsr(0x9fc0);
  const Table* const twins[] = {RefTable(), RefAvx512Bf16Table(), RefAmxTable()};
  if (getenv("FUSIONTREE_WRITE_DIGESTS") != nullptr) {
    std::ofstream file(kFile);
    file << "# Hashes of the kernels' outputs on seeded inputs, one section a contract ([fma]: ref, avx2, "
            "avx512).\n"
            "# Version 1. Written by FUSIONTREE_WRITE_DIGESTS=1 kernels_test --gtest_filter='Digests*'.\n";
    for (const Table* twin : twins) {
      file << "[" << SectionOf(twin) << "]\n";
      for (const auto& [entry, digest] : kEntries) file << entry << ": " << digest(*twin) << "\n";
    }
  }
  for (const Table* twin : twins) Compare(*twin, twin, twin->name);
  _mm_setcsr(csr);
}

INSTANTIATE_TEST_SUITE_P(Variants, DigestsTest, testing::ValuesIn(TestedVariants()),
                         [](const auto& variant) { return variant.param; });

}  // namespace
}  // namespace fusiontree::kernels
