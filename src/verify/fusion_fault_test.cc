// A kernel that computes FusionTree or Mamba wrongly is named by its operation: a table of the plain loops
// with one function spoilt.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "kernels/table.h"
#include "tensor/dtype.h"
#include "verify/mutant.h"
#include "verify/setup.h"
#include "verify/verify.h"

namespace fusiontree::verify {
namespace {

const kernels::Table& Good() { return *kernels::RefTable(); }

struct FaultCase {
  const char* name;
  const char* model;
  void (*spoil)(kernels::Table*);
  int layer;
  const char* op;
};

// Good to four digits.
template <kernels::Function kFunction>
void SpoilFunction(kernels::Table* table) {
  table->apply[kFunction] = [](const float* x, int64_t n, float* out) {
    Good().apply[kFunction](x, n, out);
    for (int64_t i = 0; i < n; ++i) out[i] *= 1.0001f;
  };
}
// The tanh form of GELU, which is right to three digits.
void SpoilGelu(kernels::Table* table) {
  table->apply[kernels::kGelu] = [](const float* x, int64_t n, float* out) {
    for (int64_t i = 0; i < n; ++i) {
      const float v = x[i];
      out[i] = 0.5f * v * (1.0f + std::tanh(0.7978845608f * (v + 0.044715f * v * v * v)));
    }
  };
}
template <typename Change>
void SpoilScan(kernels::Table* table, Change) {
  table->scan = [](const kernels::ScanArgs* args) {
    kernels::ScanArgs changed = *args;
    Change()(&changed);
    Good().scan(&changed);
  };
}
// The state is lost between the pieces of a forward: from position 64 on.
void ForgetState(kernels::Table* table) {
  SpoilScan(table, [](kernels::ScanArgs* a) {
    for (int64_t i = 0; i < a->n; ++i)
      std::fill(a->state + i * a->state_stride + a->channel_begin,
                a->state + i * a->state_stride + a->channel_end, 0.0f);
  });
}
// The state of the sequence before is not cleared: a little of it is left.
void LeakState(kernels::Table* table) {
  SpoilScan(table, [](kernels::ScanArgs* a) { a->state[a->channel_begin] += 1e-4f; });
}
void DropGate(kernels::Table* table) {
  SpoilScan(table, [](kernels::ScanArgs* a) { a->z = nullptr; });
}
// B and C in each other's place.
void SwapBC(kernels::Table* table) {
  SpoilScan(table, [](kernels::ScanArgs* a) { std::swap(a->b, a->c); });
}
// The state is kept in bf16.
void RoundState(kernels::Table* table) {
  table->scan = [](const kernels::ScanArgs* args) {
    for (int64_t t = 0; t < args->rows; ++t) {
      kernels::ScanArgs one = *args;
      one.rows = 1;
      one.x += t * one.x_stride, one.delta += t * one.delta_stride, one.out += t * one.out_stride;
      if (one.z) one.z += t * one.z_stride;
      one.b += t * one.bc_stride, one.c += t * one.bc_stride;
      Good().scan(&one);
      for (int64_t i = 0; i < one.n; ++i)
        for (int64_t c = one.channel_begin; c < one.channel_end; ++c) {
          float& s = one.state[i * one.state_stride + c];
          s = tensor::Bf16ToFloat(tensor::FloatToBf16(s));
        }
    }
  };
}
// Taps in the order of a convolution instead of a correlation.
template <kernels::ConvEnd kEnd>
void ReverseTaps(kernels::Table* table) {
  table->conv = [](const kernels::ConvArgs* args) {
    kernels::ConvArgs changed = *args;
    if (changed.end == kEnd) {
      changed.weight += (changed.width - 1) * changed.weight_stride;
      changed.weight_stride = -changed.weight_stride;
    }
    Good().conv(&changed);
  };
}
// The window starts with zeros in each forward.
void ForgetWindow(kernels::Table* table) {
  table->conv = [](const kernels::ConvArgs* args) {
    kernels::ConvArgs changed = *args;
    const std::vector<float> zeros(static_cast<size_t>(changed.width * changed.history_stride));
    changed.history = zeros.data();
    Good().conv(&changed);
  };
}
void SwapBranches(kernels::Table* table) {
  table->mix = [](const float* gate, int64_t step, const float* m, const float* a, int64_t n, float* out) {
    Good().mix(gate, step, a, m, n, out);
  };
}
// Every channel has the first one's gate.
void OneGate(kernels::Table* table) {
  table->mix = [](const float* gate, int64_t, const float* m, const float* a, int64_t n, float* out) {
    Good().mix(gate, 0, m, a, n, out);
  };
}
// The variance of a sample.
void UnbiasedVariance(kernels::Table* table) {
  table->layer_norm = [](const float* x, const float* weight, const float* bias, int64_t n, float eps,
                         float* out) {
    const bool finite = Good().layer_norm(x, weight, nullptr, n, eps, out);
    const float factor = std::sqrt(static_cast<float>(n - 1) / static_cast<float>(n));
    for (int64_t i = 0; i < n; ++i) out[i] = out[i] * factor + (bias ? bias[i] : 0.0f);
    return finite;
  };
}
// In cached decode every query sees the first key only.
void FirstKeyOnly(kernels::Table* table) {
  table->attention[kernels::kAttentionF32].split = [](const kernels::AttentionArgs* args) {
    kernels::AttentionArgs changed = *args;
    if (changed.queries == 1 && changed.window == 0) changed.key_end = changed.key_begin + 1;
    Good().attention[kernels::kAttentionF32].split(&changed);
  };
}

OperationReport DepartureOf(const char* model, void (*spoil)(kernels::Table*), int64_t chunk) {
  static kernels::Table table;  // borrowed by the setup
  table = Good();
  spoil(&table);
  auto setup = LoadSetup(DataFolder(model), {"f32", "f32", "auto", 1}, &table, nullptr);
  EXPECT_TRUE(setup.ok()) << setup.status().message();
  VerifyOptions options;
  options.chunk = chunk;
  auto report = VerifySetup(&*setup, options);
  EXPECT_TRUE(report.ok()) << report.status().message();
  const OperationReport* departure = report->FirstDeparture();
  EXPECT_NE(departure, nullptr) << Table(*report, true);
  return departure ? *departure : OperationReport();
}

class VerifyFusionFault : public testing::TestWithParam<FaultCase> {};

TEST_P(VerifyFusionFault, IsNamed) {
  const FaultCase& fault = GetParam();
  const OperationReport departure = DepartureOf(fault.model, fault.spoil, 0);
  EXPECT_EQ(departure.op, fault.op);
  EXPECT_EQ(departure.layer, fault.layer);
}

constexpr const char* kBase = "fusiontree/base";
INSTANTIATE_TEST_SUITE_P(
    All, VerifyFusionFault,
    testing::Values(
        FaultCase{"Gelu", kBase, SpoilFunction<kernels::kGelu>, 0, "align_act"},
        FaultCase{"GeluTanh", "fusiontree/no_alignment", SpoilGelu, 0, "mlp_act"},
        FaultCase{"Tanh", kBase, SpoilFunction<kernels::kTanh>, 0, "gate_act"},
        FaultCase{"Sigmoid", "fusiontree/gate_token", SpoilFunction<kernels::kSigmoid>, 0, "gate"},
        FaultCase{"Softplus", "mamba/defaults", SpoilFunction<kernels::kSoftplus>, 0, "delta"},
        FaultCase{"SiluWithoutConv", "fusiontree/no_conv", SpoilFunction<kernels::kSilu>, 0, "conv"},
        FaultCase{"ScanForgets", kBase, ForgetState, 0, "scan"},
        FaultCase{"ScanLeaks", kBase, LeakState, 0, "scan"},
        FaultCase{"ScanWithoutGate", "mamba/biases", DropGate, 0, "scan"},
        FaultCase{"ScanSwaps", kBase, SwapBC, 0, "scan"},
        FaultCase{"ScanRounds", "mamba/defaults", RoundState, 0, "scan"},
        FaultCase{"Conv", "mamba/untied_rank", ReverseTaps<kernels::kConvSilu>, 0, "conv"},
        FaultCase{"AttnConv", kBase, ReverseTaps<kernels::kConvAddInput>, 0, "attn_conv"},
        FaultCase{"Mix", kBase, SwapBranches, 0, "fused"},
        FaultCase{"MixOneGate", kBase, OneGate, 0, "fused"},
        FaultCase{"LayerNorm", kBase, UnbiasedVariance, 0, "norm_in"}),
    [](const auto& test) { return test.param.name; });

// What is right in one forward and wrong in the next.
TEST(VerifyFusionFault, OfDecodeIsNamed) {
  OperationReport departure = DepartureOf(kBase, ForgetWindow, 1);
  EXPECT_EQ(departure.op, "conv");
  EXPECT_GT(departure.position, 0);
  departure = DepartureOf(kBase, FirstKeyOnly, 1);
  EXPECT_EQ(departure.op, "attention");
  EXPECT_GT(departure.position, 0);
  departure = DepartureOf("mamba/biases", ForgetState, 5);
  EXPECT_EQ(departure.op, "scan");
  EXPECT_GE(departure.position, 5);
}

}  // namespace
}  // namespace fusiontree::verify
