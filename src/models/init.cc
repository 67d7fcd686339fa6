#include "models/init.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "base/math.h"
#include "base/philox.h"
#include "checkpoint/safetensors_writer.h"

namespace fusiontree::models {
namespace {

bool EndsWith(std::string_view name, std::string_view end) {
  return name.size() >= end.size() && name.substr(name.size() - end.size()) == end;
}

// Two draws of [0, 1) for each element, whatever is made of them.
struct Draws {
  uint64_t seed, tensor;
  std::pair<double, double> at(int64_t element) const {
    const auto bits = base::Philox(seed, static_cast<uint64_t>(element), tensor);
    return {base::UnitDouble(bits[0], bits[1]), base::UnitDouble(bits[2], bits[3])};
  }
  double Uniform(int64_t element, double bound) const { return (2.0 * at(element).first - 1.0) * bound; }
  // Box and Muller's.
  double Normal(int64_t element) const {
    const auto [a, b] = at(element);
    return std::sqrt(-2.0 * base::Log(1.0 - a)) * base::Cos(2.0 * std::numbers::pi * b);
  }
};

// softplus(bias) = step.
double TimeStepBias(double unit) {
  const double low = base::Log(0.001), high = base::Log(0.1);
  const double step = base::Exp(low + unit * (high - low));
  return step + base::Log(1.0 - base::Exp(-step));
}

}  // namespace

void InitialValues(const TensorRule& tensor, const InitSettings& settings, uint64_t seed, int64_t first,
                   int64_t count, float* out) {
  const std::string& name = tensor.name;
  const std::vector<int64_t> shape = tensor.FileShape();
  const Draws draws{seed, base::Hash(name)};
  int64_t columns = 1;
  for (size_t i = 1; i < shape.size(); ++i) columns *= shape[i];
  const auto fill = [&](auto value) {
    for (int64_t i = 0; i < count; ++i) out[i] = static_cast<float>(value(first + i));
  };
  if (EndsWith(name, ".A_log"))
    return fill([&](int64_t e) { return base::Log(static_cast<double>(e % columns + 1)); });
  if (EndsWith(name, ".D")) return fill([](int64_t) { return 1.0; });
  if (EndsWith(name, ".dt_proj.bias"))
    return fill([&](int64_t e) { return TimeStepBias(draws.at(e).first); });
  if (EndsWith(name, ".dt_proj.weight")) {
    const double bound = 1.0 / std::sqrt(static_cast<double>(columns));
    return fill([&](int64_t e) { return draws.Uniform(e, bound); });
  }
  if (EndsWith(name, ".conv1d.weight") || EndsWith(name, ".attn.conv.weight")) {
    const double bound = 1.0 / std::sqrt(static_cast<double>(columns));
    return fill([&](int64_t e) { return draws.Uniform(e, bound); });
  }
  if (EndsWith(name, ".conv1d.bias")) {
    const double bound = 1.0 / std::sqrt(static_cast<double>(settings.conv_width));
    return fill([&](int64_t e) { return draws.Uniform(e, bound); });
  }
  if (shape.size() == 1) {
    const double value = EndsWith(name, ".weight") ? 1.0 : 0.0;
    return fill([&](int64_t) { return value; });
  }
  double deviation = settings.deviation;
  if (EndsWith(name, ".fuse.wf.weight") || EndsWith(name, ".mlp.m2.weight"))
    deviation /= std::sqrt(2.0 * static_cast<double>(settings.num_layers));
  fill([&](int64_t e) { return deviation * draws.Normal(e); });
}

base::Status WriteInitialWeights(const Spec& spec, uint64_t seed, tensor::DType type,
                                 const std::string& folder, const std::function<void(double)>& progress) {
  // Rules of parts of one tensor are one tensor.
  std::map<std::string, TensorRule> tensors;
  for (const TensorRule& rule : spec.Rules(checkpoint::Checkpoint::Format::kSafetensors))
    tensors.emplace(rule.name, rule);
  InitSettings settings{spec.config().initializer_range, spec.config().num_layers};
  for (const auto& [name, rule] : tensors)
    if (EndsWith(name, ".conv1d.weight")) settings.conv_width = rule.shape.back();
  std::vector<checkpoint::TensorSpec> specs;
  int64_t total = 0, done = 0;
  for (const auto& [name, rule] : tensors) {
    specs.push_back({name, rule.f32_only ? tensor::DType::kF32 : type, rule.FileShape()});
    int64_t elements = 1;
    for (const int64_t size : specs.back().shape) elements *= size;
    total += elements;
  }
  FT_ASSIGN_OR_RETURN(checkpoint::SafetensorsWriter writer,
                      checkpoint::SafetensorsWriter::Create(folder + "/model.safetensors", specs));
  constexpr int64_t kPiece = 1 << 18;
  std::vector<float> values(kPiece);
  std::vector<uint16_t> narrow(kPiece);
  for (const checkpoint::TensorSpec& tensor : specs) {
    int64_t elements = 1;
    for (const int64_t size : tensor.shape) elements *= size;
    for (int64_t first = 0; first < elements; first += kPiece) {
      const int64_t count = std::min(kPiece, elements - first);
      InitialValues(tensors.at(tensor.name), settings, seed, first, count, values.data());
      const void* data = values.data();
      if (tensor.type != tensor::DType::kF32) {
        for (int64_t i = 0; i < count; ++i) {
          const size_t at = static_cast<size_t>(i);
          narrow[at] = tensor.type == tensor::DType::kBF16 ? tensor::FloatToBf16(values[at])
                                                           : tensor::FloatToF16(values[at]);
        }
        data = narrow.data();
      }
      FT_RETURN_IF_ERROR(
          writer.Append(tensor.name, data, tensor::BytesFor(tensor.type, static_cast<size_t>(count))));
      done += count;
      if (progress) progress(static_cast<double>(done) / static_cast<double>(total));
    }
  }
  return writer.Finish();
}

}  // namespace fusiontree::models
