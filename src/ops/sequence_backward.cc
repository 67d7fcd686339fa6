#include <algorithm>
#include <vector>

#include "base/check.h"
#include "ops/sequence.h"

namespace fusiontree::ops {
namespace {

constexpr int64_t kChannels = 32;  // cut over threads in runs of these
constexpr int64_t kPieceRows = kernels::kScanChunk;

}  // namespace

void ConvolveBackward(Context& context, const Convolution& c, const std::vector<StateSpan>& spans,
                      const SavedStates& saved, const float* x, int64_t x_stride, const float* dout,
                      int64_t dout_stride, float* dx, int64_t dx_stride) {
  const Context::Scope scope(context);
  int64_t longest = 0;
  for (const StateSpan& span : spans) longest = std::max(longest, span.count);
  float* made = context.scratch().TakeArray<float>(longest * c.channels);
  context.For(c.channels, kChannels, 0, [&](int, base::Range share) {
    const float* history = saved.first;
    for (const StateSpan& span : spans) {
      const kernels::ConvBackwardArgs args = {
          {x + span.first_row * x_stride, x_stride, history, c.channels, c.weight, c.channels, c.bias,
           span.count, c.width, share.begin, share.end, c.end, nullptr, 0},
          dout + span.first_row * dout_stride,
          dout_stride,
          made,
          c.channels,
          c.dweight,
          c.channels,
          c.dbias};
      context.kernels().backward->conv(&args);
      for (int64_t t = 0; t < span.count; ++t) {
        const float* from = made + t * c.channels;
        float* to = dx + (span.first_row + t) * dx_stride;
        for (int64_t i = share.begin; i < share.end; ++i) to[i] += from[i];
      }
      history += (c.width - 1) * c.channels;
    }
  });
}

void ScanBackward(Context& context, const SelectiveScan& scan, const std::vector<StateSpan>& spans,
                  const SavedStates& saved, const ScanInputs& in, const float* dout, int64_t dout_stride,
                  const ScanGradients& out) {
  const Context::Scope scope(context);
  tensor::Arena& scratch = context.scratch();
  const int64_t n = scan.n, channels = scan.channels, state_floats = n * channels;
  const int64_t groups = (channels + kernels::kScanGroup - 1) / kernels::kScanGroup;
  int64_t rows = 0;
  for (const StateSpan& span : spans) rows = std::max(rows, span.first_row + span.count);
  float* db = scratch.TakeArray<float>(groups * rows * n);
  float* dc = scratch.TakeArray<float>(groups * rows * n);
  float* dstates = scratch.TakeArray<float>(state_floats);
  const int64_t needed = (kPieceRows * (n + 1) + 4 * n) * kernels::kScanGroup;
  float* spaces = scratch.TakeArray<float>(context.pool().size() * needed);
  std::vector<const float*> first_state;  // of each span's pieces
  const float* next = saved.first;
  for (const StateSpan& span : spans) {
    first_state.push_back(next);
    next += (span.count + kPieceRows - 1) / kPieceRows * state_floats;
  }
  context.For(channels, kernels::kScanGroup, 0, [&](int thread, base::Range share) {
    for (size_t s = spans.size(); s-- > 0;) {
      const StateSpan& span = spans[s];
      for (int64_t i = 0; i < n; ++i)
        std::fill(dstates + i * channels + share.begin, dstates + i * channels + share.end, 0.0f);
      for (int64_t piece = (span.count - 1) / kPieceRows; piece >= 0; --piece) {
        const int64_t first = piece * kPieceRows, row = span.first_row + first;
        float* state = const_cast<float*>(first_state[s]) + piece * state_floats;
        const kernels::ScanBackwardArgs args = {{in.x + row * in.x_stride,
                                                 in.delta + row * in.delta_stride,
                                                 in.z + row * in.z_stride,
                                                 in.x_stride,
                                                 in.delta_stride,
                                                 in.z_stride,
                                                 in.b + row * in.bc_stride,
                                                 in.c + row * in.bc_stride,
                                                 in.bc_stride,
                                                 scan.a,
                                                 channels,
                                                 scan.skip,
                                                 state,
                                                 channels,
                                                 std::min(kPieceRows, span.count - first),
                                                 n,
                                                 share.begin,
                                                 share.end,
                                                 nullptr,
                                                 0},
                                                dout + row * dout_stride,
                                                dout_stride,
                                                out.x + row * in.x_stride,
                                                out.delta + row * in.delta_stride,
                                                out.z + row * in.z_stride,
                                                in.x_stride,
                                                in.delta_stride,
                                                in.z_stride,
                                                db + row * n,
                                                dc + row * n,
                                                n,
                                                rows * n,
                                                scan.da,
                                                channels,
                                                scan.dskip,
                                                dstates,
                                                channels,
                                                spaces + thread * needed};
        context.kernels().backward->scan(&args);
      }
    }
  });
  // Groups of channels in order.
  context.For(rows, 1, 8, [&](int, base::Range share) {
    for (int64_t r = share.begin; r < share.end; ++r) {
      for (int64_t i = 0; i < n; ++i) {
        float b = db[r * n + i], c = dc[r * n + i];
        for (int64_t g = 1; g < groups; ++g) {
          b += db[(g * rows + r) * n + i];
          c += dc[(g * rows + r) * n + i];
        }
        out.b[r * in.bc_stride + i] = b;
        out.c[r * in.bc_stride + i] = c;
      }
    }
  });
}

}  // namespace fusiontree::ops
