#include "ops/sequence.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace fusiontree::ops {
namespace {

constexpr int64_t kCheapRows = 8;
constexpr int64_t kChannels = 32;         // cut over threads in runs of these
constexpr int64_t kPieceRows = 64;        // of a scan: its inputs stay in the second-level cache
constexpr int64_t kCheapElements = 4096;  // of a convolution: less costs less than a fork
constexpr int64_t kCheapStates = 4096;    // rows x channels x N of a scan

int64_t Rows(const std::vector<StateSpan>& spans) {
  int64_t rows = 0;
  for (const StateSpan& span : spans) rows += span.count;
  return rows;
}

// The last width - 1 of the inputs seen so far become the state.
void KeepInputs(const StateSpan& span, int64_t kept, const float* x, int64_t x_stride, base::Range channels) {
  const size_t bytes = static_cast<size_t>(channels.end - channels.begin) * sizeof(float);
  for (int64_t i = 0; i < kept; ++i) {
    const int64_t row = span.count - kept + i;  // in the span; negative: an older input
    float* to = span.state + i * span.state_stride + channels.begin;
    if (row >= 0) {
      std::memcpy(to, x + row * x_stride + channels.begin, bytes);
    } else {
      std::memcpy(to, span.state + (i + span.count) * span.state_stride + channels.begin, bytes);
    }
  }
}

}  // namespace

void Convolve(Context& context, const Convolution& c, const std::vector<StateSpan>& spans, const float* x,
              int64_t x_stride, float* out, int64_t out_stride) {
  const bool cheap = Rows(spans) * c.channels < kCheapElements;
  context.For(c.channels, kChannels, cheap ? c.channels + 1 : 0, [&](int, base::Range share) {
    for (const StateSpan& span : spans) {
      const float* from = x + span.first_row * x_stride;
      const kernels::ConvArgs args = {from,
                                      x_stride,
                                      span.state,
                                      span.state_stride,
                                      c.weight,
                                      c.channels,
                                      c.bias,
                                      span.count,
                                      c.width,
                                      share.begin,
                                      share.end,
                                      c.end,
                                      out + span.first_row * out_stride,
                                      out_stride};
      context.kernels().conv(&args);
      KeepInputs(span, c.width - 1, from, x_stride, share);
    }
  });
}

void Scan(Context& context, const SelectiveScan& scan, const std::vector<StateSpan>& spans,
          const ScanInputs& in, float* out, int64_t out_stride) {
  const bool cheap = Rows(spans) * scan.channels * scan.n < kCheapStates;
  context.For(scan.channels, kChannels, cheap ? scan.channels + 1 : 0, [&](int, base::Range share) {
    for (const StateSpan& span : spans) {
      for (int64_t first = 0; first < span.count; first += kPieceRows) {
        const int64_t row = span.first_row + first;
        const kernels::ScanArgs args = {in.x + row * in.x_stride,
                                        in.delta + row * in.delta_stride,
                                        in.z + row * in.z_stride,
                                        in.x_stride,
                                        in.delta_stride,
                                        in.z_stride,
                                        in.b + row * in.bc_stride,
                                        in.c + row * in.bc_stride,
                                        in.bc_stride,
                                        scan.a,
                                        scan.channels,
                                        scan.skip,
                                        span.state,
                                        span.state_stride,
                                        std::min(kPieceRows, span.count - first),
                                        scan.n,
                                        share.begin,
                                        share.end,
                                        out + row * out_stride,
                                        out_stride};
        context.kernels().scan(&args);
      }
    }
  });
}

void Apply(Context& context, kernels::Function function, float* x, int64_t stride, int64_t m, int64_t n) {
  context.For(m, 1, kCheapRows, [&](int, base::Range share) {
    for (int64_t r = share.begin; r < share.end; ++r)
      context.kernels().apply[function](x + r * stride, n, x + r * stride);
  });
}

void Mix(Context& context, const float* gate, int64_t gate_stride, bool one_gate, const float* mamba,
         const float* attention, int64_t stride, int64_t m, int64_t n, float* out) {
  static constexpr float kHalf = 0.5f;
  context.For(m, 1, kCheapRows, [&](int, base::Range share) {
    for (int64_t r = share.begin; r < share.end; ++r) {
      context.kernels().mix(gate ? gate + r * gate_stride : &kHalf, gate && !one_gate ? 1 : 0,
                            mamba + r * stride, attention + r * stride, n, out + r * stride);
      std::memset(out + r * stride + n, 0, static_cast<size_t>(stride - n) * sizeof(float));
    }
  });
}

void Add(Context& context, const float* x, const float* y, int64_t stride, int64_t m, float* out) {
  context.For(m, 1, kCheapRows, [&](int, base::Range share) {
    for (int64_t i = share.begin * stride; i < share.end * stride; ++i) out[i] = x[i] + y[i];
  });
}

}  // namespace fusiontree::ops
