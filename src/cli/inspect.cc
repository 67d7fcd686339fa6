// inspect: what a checkpoint is, in plain words, without reading its weights.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "checkpoint/checkpoint.h"
#include "cli/command.h"
#include "cli/files.h"
#include "cli/inspect_sizes.h"
#include "models/model.h"
#include "report/json.h"
#include "report/table.h"
#include "report/units.h"
#include "tokenizer/tokenizer.h"

namespace fusiontree::cli {
namespace {

std::string YesNo(bool value) { return value ? "yes" : "no"; }

std::string RopeText(const models::RopeConfig& rope) {
  std::string text = fmt::format("theta {}", rope.theta);
  if (rope.scaling == models::RopeConfig::Scaling::kLinear)
    text += fmt::format(", linear scaling by {}", rope.factor);
  if (rope.scaling == models::RopeConfig::Scaling::kLlama3)
    text +=
        fmt::format(", llama3 scaling by {} from a context of {}", rope.factor, rope.original_max_position);
  return text;
}

// "all 24 layers see everything", or which window how many layers have.
std::string WindowText(const models::DecoderConfig& config) {
  std::map<int64_t, int64_t> layers;
  for (const int64_t window : config.windows) ++layers[window];
  std::string text;
  for (const auto& [window, count] : layers) {
    if (!text.empty()) text += "; ";
    text += window == 0 ? fmt::format("{} layers see the whole context", count)
                        : fmt::format("{} layers see the last {} tokens", count, window);
  }
  return text;
}

class Inspect : public Command {
 public:
  std::string Name() const override { return "inspect"; }
  std::string Summary() const override {
    return "what a checkpoint holds: config, tensors, tokenizer, memory, ranks";
  }
  std::string Example() const override {
    return "  fusiontree inspect models/SmolLM2-135M-Instruct.Q4_1.gguf --context 4096 --batch 8";
  }

  void Declare(Options& options) override {
    options.Argument("MODEL", "a Hugging Face folder or a .gguf file", &model_);
    options.Integer("--context", "tokens of each sequence, for the memory (default: the longest)", 1,
                    int64_t{1} << 32, &context_);
    options.Integer("--batch", "sequences at once, for the memory (default 1)", 1, int64_t{1} << 20, &batch_);
    options.Integer("--ranks",
                    "what each of so many ranks would own (default: the largest share at each valid number)",
                    1, 64, &ranks_);
    options.Choice("--dtype", {"auto", "bf16", "f32"}, "type of the products, for the memory", &dtype_);
    options.Choice("--kv", {"auto", "bf16", "f32"}, "type of the cache, for the memory", &kv_);
    options.Flag("--json", "everything as JSON", &json_);
  }

  base::Status Run() override {
    FT_ASSIGN_OR_RETURN(const checkpoint::Checkpoint checkpoint, checkpoint::Checkpoint::Open(model_));
    FT_ASSIGN_OR_RETURN(const models::DecoderConfig config, models::ReadConfig(checkpoint));
    if (context_.value_or(0) > config.max_positions)
      return base::BadInput("--context is {}, but the model's context ends at {}", *context_,
                            config.max_positions);
    const int64_t context = context_.value_or(config.max_positions);
    const MemoryNeed memory = NeedOf(checkpoint, config, dtype_, kv_, context, batch_);
    FT_ASSIGN_OR_RETURN(
        const std::vector<RankShare> ranks,
        ranks_ ? SharesAt(checkpoint, config, static_cast<int>(*ranks_)) : LargestShares(checkpoint, config));
    const auto tokenizer = tokenizer::Tokenizer::Load(checkpoint);
    return WriteOutput(json_ ? AsJson(checkpoint, config, memory, ranks, tokenizer, context)
                             : AsText(checkpoint, config, memory, ranks, tokenizer, context));
  }

 private:
  using TokenizerResult = base::Result<tokenizer::Tokenizer>;

  static std::string ConfigText(const checkpoint::Checkpoint& checkpoint,
                                const models::DecoderConfig& config) {
    report::Table table({"config", ""});
    int64_t parameters = 0;
    for (const checkpoint::TensorInfo& tensor : checkpoint.tensors()) parameters += tensor.elements();
    const bool gguf = checkpoint.format() == checkpoint::Checkpoint::Format::kGguf;
    table.Row({"file", gguf ? "GGUF" : "Hugging Face folder (safetensors)"});
    table.Row({"family", config.family});
    table.Row({"parameters", fmt::format("{} ({})", report::Grouped(parameters),
                                         report::Count(static_cast<double>(parameters)))});
    table.Row({"layers", fmt::format("{} of hidden size {}, MLP of {}", config.num_layers, config.hidden_size,
                                     config.intermediate_size)});
    table.Row({"attention", fmt::format("{} query heads on {} key-value heads of {}", config.num_heads,
                                        config.num_kv_heads, config.head_dim)});
    table.Row({"sees", WindowText(config)});
    table.Row({"positions", fmt::format("rotary, {}", RopeText(config.rope))});
    table.Row({"context", fmt::format("{} tokens", report::Grouped(config.max_positions))});
    table.Row(
        {"vocabulary", fmt::format("{} rows, head {}", report::Grouped(config.vocab_size),
                                   config.tie_word_embeddings ? "tied to the embedding" : "of its own")});
    table.Row({"biases", fmt::format("q, k, v: {}; o: {}; MLP: {}", YesNo(config.qkv_bias),
                                     YesNo(config.o_bias), YesNo(config.mlp_bias))});
    table.Row({"norms", fmt::format("RMS, epsilon {:.6g}{}", config.norm_eps,
                                    config.qk_norm ? ", also of each query and key head" : "")});
    return table.Text();
  }

  static std::string TensorText(const checkpoint::Checkpoint& checkpoint) {
    report::Table table({"tensor", "shape", "type", "bytes"});
    std::map<std::string, std::pair<int64_t, uint64_t>> totals;  // type: tensors, bytes
    for (const checkpoint::TensorInfo& tensor : checkpoint.tensors()) {
      const std::string type(tensor::Info(tensor.type).name);
      table.Row(
          {tensor.name, tensor.ShapeString(), type, report::Grouped(static_cast<int64_t>(tensor.bytes))});
      ++totals[type].first;
      totals[type].second += tensor.bytes;
    }
    report::Table sums({"type", "tensors", "bytes", "size"});
    uint64_t all = 0;
    for (const auto& [type, total] : totals) {
      all += total.second;
      sums.Row({type, std::to_string(total.first), report::Grouped(static_cast<int64_t>(total.second)),
                report::Bytes(static_cast<double>(total.second))});
    }
    sums.Row({"all", std::to_string(checkpoint.tensors().size()), report::Grouped(static_cast<int64_t>(all)),
              report::Bytes(static_cast<double>(all))});
    return table.Text() + "\n" + sums.Text();
  }

  static std::string TokenName(const tokenizer::Tokenizer& tokenizer, std::optional<int32_t> id) {
    return id ? fmt::format("{} {}", *id, report::Quote(tokenizer.TokenText(*id))) : "none";
  }

  static std::string TokenizerText(const TokenizerResult& result) {
    if (!result.ok()) return "tokenizer: " + result.status().message() + "\n";
    const tokenizer::Tokenizer& tokenizer = result.value();
    report::Table table({"tokenizer", tokenizer.description()});
    table.Row({"ids", report::Grouped(static_cast<int64_t>(tokenizer.vocab_size()))});
    table.Row({"begins a text", TokenName(tokenizer, tokenizer.bos_id())});
    std::string eos;
    for (const int32_t id : tokenizer.eos_ids()) eos += (eos.empty() ? "" : ", ") + TokenName(tokenizer, id);
    table.Row({"ends a text", eos.empty() ? "none" : eos});
    table.Row({"unknown", TokenName(tokenizer, tokenizer.unk_id())});
    table.Row({"padding", TokenName(tokenizer, tokenizer.pad_id())});
    std::string text = table.Text() + "\n";
    const std::string& chat_template = tokenizer.chat_template();
    if (chat_template.empty()) return text + "chat template: none\n";
    text += fmt::format("chat template, {} bytes, begins:\n", chat_template.size());
    constexpr int kLines = 4;
    size_t at = 0;
    for (int line = 0; line < kLines && at < chat_template.size(); ++line) {
      const size_t end = std::min(chat_template.find('\n', at), chat_template.size());
      constexpr size_t kWidth = 100;
      text += "  " + chat_template.substr(at, std::min(end - at, kWidth)) + (end - at > kWidth ? "..." : "") +
              "\n";
      at = end + 1;
    }
    return text;
  }

  std::string MemoryText(const MemoryNeed& memory, int64_t context) const {
    return fmt::format("memory for {} sequence{} of {} tokens: weights {} ({}) + cache {} ({}) = {}\n",
                       batch_, batch_ == 1 ? "" : "s", report::Grouped(context),
                       report::Bytes(memory.weights), memory.weight_type, report::Bytes(memory.cache),
                       memory.cache_type, report::Bytes(memory.weights + memory.cache));
  }

  std::string RankText(const models::DecoderConfig& config, const std::vector<RankShare>& shares) const {
    const auto count = [](const base::Range& range) { return range.end - range.begin; };
    const auto shown = [&](const base::Range& range) {
      return ranks_ ? fmt::format("{}-{}", range.begin, range.end - 1) : report::Grouped(count(range));
    };
    report::Table table({ranks_ ? "rank" : "ranks", "query heads", "KV heads", "slices", "vocabulary rows",
                         "reads of the file", "copies"});
    for (const RankShare& share : shares)
      table.Row({std::to_string(ranks_ ? share.rank : share.degree), shown(share.query_heads),
                 shown(share.kv_heads), std::to_string(share.slices),
                 count(share.vocabulary) > 0 ? shown(share.vocabulary) : "none",
                 report::Bytes(static_cast<double>(share.bytes)),
                 fmt::format("{:.1f}%", 100 * static_cast<double>(share.replicated) /
                                            static_cast<double>(share.bytes))});
    return fmt::format("what each rank would own ({} reduction slice{};{} copies: held by all)\n{}",
                       config.reduction_slices, config.reduction_slices == 1 ? "" : "s",
                       ranks_ ? "" : " the largest share;", table.Text());
  }

  std::string AsText(const checkpoint::Checkpoint& checkpoint, const models::DecoderConfig& config,
                     const MemoryNeed& memory, const std::vector<RankShare>& ranks,
                     const TokenizerResult& tokenizer, int64_t context) const {
    return ConfigText(checkpoint, config) + "\n" + TensorText(checkpoint) + "\n" + TokenizerText(tokenizer) +
           "\n" + MemoryText(memory, context) + "\n" + RankText(config, ranks);
  }

  std::string AsJson(const checkpoint::Checkpoint& checkpoint, const models::DecoderConfig& config,
                     const MemoryNeed& memory, const std::vector<RankShare>& ranks,
                     const TokenizerResult& tokenizer, int64_t context) const {
    report::Json json;
    json.BeginObject().Key("model").Text(model_);
    json.Key("config").BeginObject();
    json.Key("family").Text(config.family).Key("vocab_size").Integer(config.vocab_size);
    json.Key("hidden_size")
        .Integer(config.hidden_size)
        .Key("intermediate_size")
        .Integer(config.intermediate_size);
    json.Key("num_layers").Integer(config.num_layers).Key("num_heads").Integer(config.num_heads);
    json.Key("num_kv_heads").Integer(config.num_kv_heads).Key("head_dim").Integer(config.head_dim);
    json.Key("max_positions").Integer(config.max_positions).Key("norm_eps").Number(config.norm_eps);
    json.Key("rope").Text(RopeText(config.rope)).Key("tie_word_embeddings").Bool(config.tie_word_embeddings);
    json.Key("qkv_bias").Bool(config.qkv_bias).Key("o_bias").Bool(config.o_bias);
    json.Key("mlp_bias").Bool(config.mlp_bias).Key("qk_norm").Bool(config.qk_norm);
    json.Key("windows").BeginArray();
    for (const int64_t window : config.windows) json.Integer(window);
    json.EndArray().Key("reduction_slices").Integer(config.reduction_slices).EndObject();
    json.Key("tensors").BeginArray();
    for (const checkpoint::TensorInfo& tensor : checkpoint.tensors()) {
      json.BeginObject().Key("name").Text(tensor.name).Key("shape").BeginArray();
      for (const int64_t size : tensor.shape) json.Integer(size);
      json.EndArray().Key("type").Text(tensor::Info(tensor.type).name);
      json.Key("bytes").Integer(static_cast<int64_t>(tensor.bytes)).EndObject();
    }
    json.EndArray().Key("tokenizer");
    if (tokenizer.ok()) {
      json.BeginObject().Key("description").Text(tokenizer.value().description());
      json.Key("ids")
          .Integer(static_cast<int64_t>(tokenizer.value().vocab_size()))
          .Key("eos_ids")
          .BeginArray();
      for (const int32_t id : tokenizer.value().eos_ids()) json.Integer(id);
      json.EndArray().Key("chat_template").Text(tokenizer.value().chat_template()).EndObject();
    } else {
      json.Null();
    }
    json.Key("memory").BeginObject().Key("context").Integer(context).Key("batch").Integer(batch_);
    json.Key("weight_bytes").Number(memory.weights).Key("cache_bytes").Number(memory.cache).EndObject();
    json.Key("ranks").BeginArray();
    for (const RankShare& share : ranks)
      json.BeginObject()
          .Key("degree")
          .Integer(share.degree)
          .Key("rank")
          .Integer(share.rank)
          .Key("query_heads")
          .Integer(share.query_heads.end - share.query_heads.begin)
          .Key("kv_heads")
          .Integer(share.kv_heads.end - share.kv_heads.begin)
          .Key("slices")
          .Integer(share.slices)
          .Key("bytes")
          .Integer(static_cast<int64_t>(share.bytes))
          .EndObject();
    json.EndArray().EndObject();
    return json.text() + "\n";
  }

  std::string model_, dtype_ = "auto", kv_ = "auto";
  std::optional<int64_t> context_, ranks_;
  int64_t batch_ = 1;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> NewInspect() { return std::make_unique<Inspect>(); }

}  // namespace fusiontree::cli
