#include "verify/setup.h"

#include <utility>

#include "base/philox.h"
#include "kernels/variants.h"

namespace fusiontree::verify {

using base::BadInput;
using base::Result;

Result<const kernels::Table*> FindTable(const std::string& isa) {
  if (isa == "auto") return kernels::Best().table;
  const kernels::Variant* variant = kernels::Find(isa);
  if (!variant) return BadInput("isa: expected auto, ref, avx2, avx512, avx512bf16 or amx, got {}", isa);
  if (!variant->table) return BadInput("isa {}: {}", isa, variant->missing);
  return variant->table;
}

Result<models::ComputeType> ParseCompute(const std::string& dtype) {
  if (dtype == "auto") return models::ComputeType::kAuto;
  if (dtype == "f32") return models::ComputeType::kF32;
  if (dtype == "bf16") return models::ComputeType::kBf16;
  return BadInput("dtype: expected auto, bf16 or f32, got {}", dtype);
}

Result<models::CacheType> ParseCache(const std::string& kv) {
  if (kv == "auto") return models::CacheType::kAuto;
  if (kv == "f32") return models::CacheType::kF32;
  if (kv == "bf16") return models::CacheType::kBf16;
  return BadInput("kv: expected auto, bf16 or f32, got {}", kv);
}

Result<Setup> LoadSetup(const std::string& model_path, const EngineChoice& choice,
                        const std::function<void(double)>& progress) {
  FT_ASSIGN_OR_RETURN(const kernels::Table* table, FindTable(choice.isa));
  return LoadSetup(model_path, choice, table, progress);
}

Result<Setup> LoadSetup(const std::string& model_path, const EngineChoice& choice,
                        const kernels::Table* table, const std::function<void(double)>& progress) {
  models::ModelOptions options;
  options.progress = progress;
  FT_ASSIGN_OR_RETURN(options.compute, ParseCompute(choice.dtype));
  FT_ASSIGN_OR_RETURN(options.cache, ParseCache(choice.kv));
  const int threads = choice.threads > 0 ? choice.threads : base::ThreadPool::AvailableProcessors();
  FT_ASSIGN_OR_RETURN(checkpoint::Checkpoint checkpoint, checkpoint::Checkpoint::Open(model_path));
  Setup out{std::move(checkpoint),
            std::make_unique<base::ThreadPool>(threads),
            nullptr,
            nullptr,
            options.compute,
            {}};
  out.context = std::make_unique<ops::Context>(out.pool.get(), table);
  FT_ASSIGN_OR_RETURN(out.model, models::LoadModel(out.checkpoint, options, *out.context));
  out.used = {
      model_path, out.model->config().family, table->name, out.model->TypeName(), out.model->CacheTypeName(),
      threads};
  return out;
}

std::vector<std::vector<int32_t>> RandomTexts(uint64_t seed, const std::vector<int64_t>& lengths,
                                              int64_t vocab_size) {
  std::vector<std::vector<int32_t>> out;
  for (size_t text = 0; text < lengths.size(); ++text) {
    out.emplace_back();
    for (int64_t i = 0; i < lengths[text]; ++i) {
      const auto bits = base::Philox(seed, static_cast<uint64_t>(i), text);
      out.back().push_back(
          static_cast<int32_t>(base::UnitDouble(bits[0], bits[1]) * static_cast<double>(vocab_size)));
    }
  }
  return out;
}

}  // namespace fusiontree::verify
