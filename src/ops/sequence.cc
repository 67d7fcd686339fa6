#include "ops/sequence.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace fusiontree::ops {
namespace {

constexpr int64_t kChannels = 32;                    // cut over threads in runs of these
constexpr int64_t kPieceRows = kernels::kScanChunk;  // of a scan: its inputs stay in the second-level cache
constexpr int64_t kCheapElements = 4096;             // of a convolution: less costs less than a fork
constexpr int64_t kCheapStates = 4096;               // rows x channels x N of a scan

int64_t Rows(const std::vector<StateSpan>& spans) {
  int64_t rows = 0;
  for (const StateSpan& span : spans) rows += span.count;
  return rows;
}

// Of a scan, over all spans.
int64_t Pieces(const std::vector<StateSpan>& spans) {
  int64_t pieces = 0;
  for (const StateSpan& span : spans) pieces += (span.count + kPieceRows - 1) / kPieceRows;
  return pieces;
}

void CopyState(const StateSpan& span, int64_t rows, int64_t channels, float* out) {
  for (int64_t i = 0; i < rows; ++i)
    std::copy_n(span.state + i * span.state_stride, channels, out + i * channels);
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
  if (Tape* tape = context.tape()) {
    const int64_t floats = (c.width - 1) * c.channels;
    float* saved = context.TakeConstant(static_cast<int64_t>(spans.size()) * floats);
    for (size_t s = 0; s < spans.size(); ++s)
      CopyState(spans[s], c.width - 1, c.channels, saved + static_cast<int64_t>(s) * floats);
    tape->Record(out, [&context, tape, c, spans, saved, x, x_stride, out, out_stride] {
      ConvolveBackward(context, c, spans, {saved}, x, x_stride, tape->Gradient(out), out_stride,
                       tape->Gradient(x), x_stride);
    });
  }
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
  const int64_t state_floats = scan.n * scan.channels;
  float* saved = nullptr;
  if (Tape* tape = context.tape()) {
    FT_CHECK(out != in.x);
    saved = context.TakeConstant(Pieces(spans) * state_floats);
    tape->Record(out, [&context, tape, scan, spans, saved, in, out, out_stride] {
      ScanBackward(context, scan, spans, {saved}, in, tape->Gradient(out), out_stride,
                   {tape->Gradient(in.x), tape->Gradient(in.delta), tape->Gradient(in.z),
                    tape->Gradient(in.b), tape->Gradient(in.c)});
    });
  }
  context.For(scan.channels, kChannels, cheap ? scan.channels + 1 : 0, [&](int, base::Range share) {
    float* keep = saved;
    for (const StateSpan& span : spans) {
      for (int64_t first = 0; first < span.count; first += kPieceRows) {
        const int64_t row = span.first_row + first;
        if (keep != nullptr) {
          for (int64_t n = 0; n < scan.n; ++n)
            std::copy(span.state + n * span.state_stride + share.begin,
                      span.state + n * span.state_stride + share.end, keep + n * scan.channels + share.begin);
          keep += state_floats;
        }
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

}  // namespace fusiontree::ops
