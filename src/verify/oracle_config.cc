#include "verify/oracle_config.h"

#include <cmath>
#include <optional>

#include "base/bytes.h"
#include "tensor/dequantise.h"
#include "verify/oracle_json.h"

namespace fusiontree::verify {
namespace {

using base::BadInput;
using base::Result;
using checkpoint::Checkpoint;
using nlohmann::json;

constexpr double kPi = 3.14159265358979323846;

std::vector<double> PlainFrequencies(double theta, int64_t head_dim) {
  std::vector<double> out;
  for (int64_t i = 0; i < head_dim / 2; ++i)
    out.push_back(std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim)));
  return out;
}

// Meta's rule for Llama 3.1: long waves are slowed by `factor`, short ones kept, those between blended.
double Llama3Frequency(double frequency, double factor, double low, double high, double length) {
  const double wave = 2 * kPi / frequency;
  if (wave > length / low) return frequency / factor;
  if (wave < length / high) return frequency;
  const double smooth = (length / wave - low) / (high - low);
  return (1 - smooth) * frequency / factor + smooth * frequency;
}

std::vector<int64_t> FolderWindows(const json& config, const std::string& family, int64_t layers) {
  std::vector<int64_t> windows(static_cast<size_t>(layers));
  if (family == "llama") return windows;
  // The key's absence means 4096, null means none: the one place where the two differ.
  const int64_t window = config.contains("sliding_window") ? Integer(config, "sliding_window", 0) : 4096;
  const json* types = Key(config, "layer_types");
  const int64_t first = Integer(config, "max_window_layers", 28);
  for (int64_t i = 0; i < layers; ++i) {
    bool slides = family == "mistral" || (Flag(config, "use_sliding_window") && i >= first);
    if (family != "mistral" && types && types->is_array() && types->size() > static_cast<size_t>(i))
      slides = (*types)[static_cast<size_t>(i)] == "sliding_attention";
    windows[static_cast<size_t>(i)] = slides ? window : 0;
  }
  return windows;
}

std::vector<double> FolderFrequencies(const json& config, const OracleConfig& out) {
  const json empty = json::object();
  const json* scaling = Key(config, "rope_scaling");
  const json* parameters = Key(config, "rope_parameters");
  const json& rope = scaling && !scaling->empty() ? *scaling : parameters ? *parameters : empty;
  const double theta =
      Number(parameters ? *parameters : empty, "rope_theta", Number(config, "rope_theta", 10000.0));
  std::vector<double> frequencies = PlainFrequencies(theta, out.head_dim);
  const std::string type = rope.contains("rope_type") ? Text(rope, "rope_type") : Text(rope, "type");
  const double factor = Number(rope, "factor", 1.0);
  const double context = Number(config, "max_position_embeddings", 2048);
  const double length = Number(config, "original_max_position_embeddings",
                               Number(rope, "original_max_position_embeddings", context));
  for (double& frequency : frequencies) {
    if (type == "linear") frequency /= factor;
    if (type == "llama3")
      frequency = Llama3Frequency(frequency, factor, Number(rope, "low_freq_factor", 1.0),
                                  Number(rope, "high_freq_factor", 4.0), length);
  }
  return frequencies;
}

Result<OracleConfig> ReadFolder(const Checkpoint& checkpoint) {
  FT_ASSIGN_OR_RETURN(const json config, ReadConfigObject(checkpoint));
  std::string family = Text(config, "model_type");
  const json* classes = Key(config, "architectures");
  if (family.empty() && classes && classes->is_array() && !classes->empty() && classes->front().is_string()) {
    const std::string name = classes->front().get<std::string>();
    for (const char* known : {"Qwen2", "Qwen3", "Llama", "LLaMA", "Mistral"})
      if (name.rfind(known, 0) == 0) family = known;
    for (char& c : family) c = static_cast<char>(c | 0x20);  // ASCII letters and digits
  }
  OracleConfig out;
  out.vocab_size = Integer(config, "vocab_size", 0);
  out.hidden_size = Integer(config, "hidden_size", 0);
  out.intermediate_size = Integer(config, "intermediate_size", 0);
  out.num_layers = Integer(config, "num_hidden_layers", 0);
  out.num_heads = Integer(config, "num_attention_heads", 0);
  out.num_kv_heads = Integer(config, "num_key_value_heads", out.num_heads);
  const int64_t shared = out.num_heads > 0 ? out.hidden_size / out.num_heads : 0;
  out.head_dim = Integer(config, "head_dim", family == "qwen3" ? 128 : shared);
  out.norm_eps = Number(config, "rms_norm_eps", 1e-6);
  if (out.num_layers < 0 || out.num_layers > 100000)
    return BadInput("config.json: num_hidden_layers is absurd");
  out.windows = FolderWindows(config, family, out.num_layers);
  out.inverse_frequencies = FolderFrequencies(config, out);
  return out;
}

Result<OracleConfig> ReadGguf(const Checkpoint& checkpoint) {
  const checkpoint::Metadata& meta = checkpoint.metadata();
  FT_ASSIGN_OR_RETURN(const std::string arch, meta.Get<std::string>("general.architecture"));
  const auto integer = [&](const char* key, int64_t fallback) {
    return meta.GetOr<int64_t>(arch + key, fallback);
  };
  OracleConfig out;
  FT_ASSIGN_OR_RETURN(out.hidden_size, integer(".embedding_length", 0));
  FT_ASSIGN_OR_RETURN(out.intermediate_size, integer(".feed_forward_length", 0));
  FT_ASSIGN_OR_RETURN(out.num_layers, integer(".block_count", 0));
  FT_ASSIGN_OR_RETURN(out.num_heads, integer(".attention.head_count", 0));
  FT_ASSIGN_OR_RETURN(out.num_kv_heads, integer(".attention.head_count_kv", out.num_heads));
  const int64_t shared = out.num_heads > 0 ? out.hidden_size / out.num_heads : 0;
  FT_ASSIGN_OR_RETURN(out.head_dim, integer(".attention.key_length", shared));
  FT_ASSIGN_OR_RETURN(out.norm_eps, meta.GetOr<double>(arch + ".attention.layer_norm_rms_epsilon", 1e-6));
  FT_ASSIGN_OR_RETURN(const int64_t window, integer(".attention.sliding_window", 0));
  if (out.num_layers < 0 || out.num_layers > 100000) return BadInput("{}.block_count is absurd", arch);
  out.windows.assign(static_cast<size_t>(out.num_layers), window);
  const checkpoint::TensorInfo* embedding = checkpoint.Find("token_embd.weight");
  if (embedding && embedding->shape.size() == 2) out.vocab_size = embedding->shape[0];
  out.interleaved_qk = arch == "llama";

  FT_ASSIGN_OR_RETURN(const double theta, meta.GetOr<double>(arch + ".rope.freq_base", 10000.0));
  out.inverse_frequencies = PlainFrequencies(theta, out.head_dim);
  FT_ASSIGN_OR_RETURN(const std::string type, meta.GetOr<std::string>(arch + ".rope.scaling.type", "none"));
  FT_ASSIGN_OR_RETURN(const double factor, meta.GetOr<double>(arch + ".rope.scaling.factor", 1.0));
  // llama3 scaling comes as a divisor for each frequency.
  const checkpoint::TensorInfo* divisors = checkpoint.Find("rope_freqs.weight");
  std::vector<float> divisor(out.inverse_frequencies.size(),
                             type == "linear" ? static_cast<float>(factor) : 1.0f);
  if (divisors) {
    if (divisors->type != tensor::DType::kF32 || divisors->elements() != static_cast<int64_t>(divisor.size()))
      return BadInput("rope_freqs.weight is {} {}, expected F32 [{}]", tensor::Info(divisors->type).name,
                      divisors->ShapeString(), divisor.size());
    FT_RETURN_IF_ERROR(checkpoint.Read(*divisors, 0, divisors->bytes, divisor.data()));
  }
  for (size_t i = 0; i < divisor.size(); ++i) out.inverse_frequencies[i] /= static_cast<double>(divisor[i]);
  return out;
}

}  // namespace

Result<OracleConfig> ReadOracleConfig(const Checkpoint& checkpoint) {
  FT_ASSIGN_OR_RETURN(OracleConfig out, checkpoint.format() == Checkpoint::Format::kGguf
                                            ? ReadGguf(checkpoint)
                                            : ReadFolder(checkpoint));
  for (const int64_t size : {out.vocab_size, out.hidden_size, out.intermediate_size, out.num_layers,
                             out.num_heads, out.num_kv_heads, out.head_dim})
    if (size < 1 || size > int64_t{1} << 31)
      return BadInput("the config's sizes must be 1 or more, got {}", size);
  if (out.num_heads % out.num_kv_heads != 0 || out.head_dim % 2 != 0)
    return BadInput("{} heads on {} KV heads of {}: the heads must divide and the size be even",
                    out.num_heads, out.num_kv_heads, out.head_dim);
  return out;
}

std::vector<std::string> ConfigDifferences(const OracleConfig& oracle, const models::DecoderConfig& engine) {
  std::vector<std::string> out;
  const auto compare = [&](const char* name, auto expected, auto got) {
    if (expected != got)
      out.push_back(fmt::format("{}: the oracle reads {}, the engine {}", name, expected, got));
  };
  compare("vocab_size", oracle.vocab_size, engine.vocab_size);
  compare("hidden_size", oracle.hidden_size, engine.hidden_size);
  compare("intermediate_size", oracle.intermediate_size, engine.intermediate_size);
  compare("num_layers", oracle.num_layers, engine.num_layers);
  compare("num_heads", oracle.num_heads, engine.num_heads);
  compare("num_kv_heads", oracle.num_kv_heads, engine.num_kv_heads);
  compare("head_dim", oracle.head_dim, engine.head_dim);
  compare("norm_eps", static_cast<float>(oracle.norm_eps), static_cast<float>(engine.norm_eps));
  for (size_t i = 0; i < oracle.windows.size() && i < engine.windows.size(); ++i)
    compare(fmt::format("window of layer {}", i).c_str(), oracle.windows[i], engine.windows[i]);
  return out;
}

}  // namespace fusiontree::verify
