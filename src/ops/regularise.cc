#include "ops/regularise.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/philox.h"

namespace fusiontree::ops {
namespace {

constexpr int64_t kCheapRows = 8;
constexpr int64_t kGroup = 4;  // channels of one draw, 16 bits each

// Rows of which(row) become `value`; their gradient is nothing.
template <typename Which>
void SetRows(Context& context, float* x, int64_t stride, int64_t m, int64_t n, Which which) {
  context.For(m, 1, kCheapRows, [&](int, base::Range share) {
    for (int64_t r = share.begin; r < share.end; ++r)
      if (const auto [set, value] = which(r); set) std::fill_n(x + r * stride, n, value);
  });
  Tape* tape = context.tape();
  if (tape == nullptr) return;
  tape->Record(x, [tape, x, stride, m, n, which] {
    float* dx = tape->Gradient(x);
    for (int64_t r = 0; r < m; ++r)
      if (which(r).first) std::fill_n(dx + r * stride, n, 0.0f);
  });
}

}  // namespace

uint64_t Regularisation::Draw(int64_t of_row, int64_t of_column, int layer, Purpose purpose,
                              int64_t group) const {
  constexpr uint64_t kDomain = 0x7265'6775'6c61'7269u;  // apart from other draws of the seed
  const uint64_t low = static_cast<uint64_t>(of_row) << 32 | static_cast<uint64_t>(of_column);
  const uint64_t high = static_cast<uint64_t>(step) << 36 | static_cast<uint64_t>(layer + 1) << 24 |
                        static_cast<uint64_t>(purpose) << 16 | static_cast<uint64_t>(group);
  const auto bits = base::Philox(seed ^ kDomain, low, high);
  return static_cast<uint64_t>(bits[0]) << 32 | bits[1];
}

void Dropout(Context& context, int layer, Purpose purpose, float* x, int64_t stride, int64_t m, int64_t n) {
  const Regularisation* draws = context.regularisation();
  if (draws == nullptr || draws->dropout <= 0.0) return;
  const uint64_t limit = static_cast<uint64_t>(draws->dropout * 65536.0 + 0.5);
  const float scale = static_cast<float>(65536.0 / (65536.0 - static_cast<double>(limit)));
  FT_CHECK(limit < 65536 && n <= kGroup * 65536);
  const auto mask = [&context, draws, layer, purpose, stride, m, n, limit, scale](float* values) {
    context.For(m, 1, kCheapRows, [&](int, base::Range share) {
      for (int64_t r = share.begin; r < share.end; ++r) {
        const size_t at = static_cast<size_t>(r);
        float* to = values + r * stride;
        for (int64_t first = 0; first < n; first += kGroup) {
          const uint64_t bits =
              draws->Draw(draws->row[at], draws->column[at], layer, purpose, first / kGroup);
          for (int64_t i = first; i < std::min(n, first + kGroup); ++i)
            to[i] = (bits >> (16 * (i - first)) & 0xffff) < limit ? 0.0f : to[i] * scale;
        }
      }
    });
  };
  mask(x);
  if (Tape* tape = context.tape()) tape->Record(x, [tape, mask, x] { mask(tape->Gradient(x)); });
}

std::vector<Kept> KeptBranches(const Context& context, int layer) {
  const Regularisation* draws = context.regularisation();
  if (draws == nullptr || draws->drop_branch <= 0.0) return {};
  std::vector<Kept> kept;
  for (size_t r = 0; r < draws->row.size(); ++r) {
    const uint64_t bits = draws->Draw(draws->row[r], draws->begin[r], layer, Purpose::kBranch);
    const bool drops =
        base::UnitDouble(static_cast<uint32_t>(bits >> 32), static_cast<uint32_t>(bits)) < draws->drop_branch;
    const bool coin = draws->Draw(draws->row[r], draws->begin[r], layer, Purpose::kBranch, 1) & 1;
    kept.push_back(!drops ? Kept::kBoth : coin ? Kept::kMamba : Kept::kAttention);
  }
  return kept;
}

void DropBranch(Context& context, const std::vector<Kept>& kept, Kept survivor, float* x, int64_t stride) {
  if (kept.empty()) return;
  SetRows(context, x, stride, static_cast<int64_t>(kept.size()), stride,
          [kept, survivor](int64_t r) { return std::pair(kept[static_cast<size_t>(r)] == survivor, 0.0f); });
}

void ForceGates(Context& context, const std::vector<Kept>& kept, float* gate, int64_t stride, int64_t n) {
  if (kept.empty()) return;
  SetRows(context, gate, stride, static_cast<int64_t>(kept.size()), n, [kept](int64_t r) {
    const Kept of_row = kept[static_cast<size_t>(r)];
    return std::pair(of_row != Kept::kBoth, of_row == Kept::kMamba ? 1.0f : 0.0f);
  });
}

}  // namespace fusiontree::ops
