// inspect: what a checkpoint is, in plain words, without reading its weights.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "checkpoint/checkpoint.h"
#include "cli/command.h"
#include "cli/files.h"
#include "cli/inspect_sizes.h"
#include "models/spec.h"
#include "report/json.h"
#include "report/table.h"
#include "report/units.h"
#include "tokenizer/tokenizer.h"

namespace fusiontree::cli {
namespace {

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
    FT_ASSIGN_OR_RETURN(const std::unique_ptr<models::Spec> read, models::ReadSpec(checkpoint));
    const models::Spec& spec = *read;
    const models::Config& config = spec.config();
    if (context_.value_or(0) > config.max_positions)
      return base::BadInput("--context is {}, but the model's context ends at {}", *context_,
                            config.max_positions);
    const int64_t context = context_.value_or(config.usual_positions);
    const MemoryNeed memory = NeedOf(checkpoint, spec, dtype_, kv_, context, batch_);
    FT_ASSIGN_OR_RETURN(
        const std::vector<RankShare> ranks,
        ranks_ ? SharesAt(checkpoint, spec, static_cast<int>(*ranks_)) : LargestShares(checkpoint, spec));
    const auto tokenizer = tokenizer::Tokenizer::Load(checkpoint);
    return WriteOutput(json_ ? AsJson(checkpoint, spec, memory, ranks, tokenizer, context)
                             : AsText(checkpoint, spec, memory, ranks, tokenizer, context));
  }

 private:
  using TokenizerResult = base::Result<tokenizer::Tokenizer>;

  static std::string ConfigText(const checkpoint::Checkpoint& checkpoint, const models::Spec& spec) {
    report::Table table({"config", ""});
    int64_t parameters = 0;
    for (const checkpoint::TensorInfo& tensor : checkpoint.tensors()) parameters += tensor.elements();
    const bool gguf = checkpoint.format() == checkpoint::Checkpoint::Format::kGguf;
    table.Row({"file", gguf ? "GGUF" : "Hugging Face folder (safetensors)"});
    table.Row({"family", spec.config().family});
    table.Row({"parameters", fmt::format("{} ({})", report::Grouped(parameters),
                                         report::Count(static_cast<double>(parameters)))});
    for (const models::Fact& fact : spec.Describe())
      if (!fact.label.empty()) table.Row({fact.label, fact.text});
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

  std::string RankText(int64_t slices, const std::vector<RankShare>& shares) const {
    const auto count = [](const base::Range& range) { return range.end - range.begin; };
    const auto shown = [&](const base::Range& range) {
      if (count(range) == 0) return std::string("none");
      return ranks_ ? fmt::format("{}-{}", range.begin, range.end - 1) : report::Grouped(count(range));
    };
    report::Table table({ranks_ ? "rank" : "ranks", "query heads", "KV heads", "slices", "vocabulary rows",
                         "a token adds", "states", "reads of the file", "copies"});
    for (const RankShare& share : shares)
      table.Row({std::to_string(ranks_ ? share.rank : share.degree), shown(share.query_heads),
                 shown(share.kv_heads), std::to_string(share.slices), shown(share.vocabulary),
                 report::Bytes(static_cast<double>(share.token_bytes)),
                 report::Bytes(static_cast<double>(share.state_bytes)),
                 report::Bytes(static_cast<double>(share.bytes)),
                 fmt::format("{:.1f}%", 100 * static_cast<double>(share.replicated) /
                                            static_cast<double>(share.bytes))});
    return fmt::format("what each rank would own ({} reduction slice{};{} copies: held by all)\n{}", slices,
                       slices == 1 ? "" : "s", ranks_ ? "" : " the largest share;", table.Text());
  }

  std::string AsText(const checkpoint::Checkpoint& checkpoint, const models::Spec& spec,
                     const MemoryNeed& memory, const std::vector<RankShare>& ranks,
                     const TokenizerResult& tokenizer, int64_t context) const {
    return ConfigText(checkpoint, spec) + "\n" + TensorText(checkpoint) + "\n" + TokenizerText(tokenizer) +
           "\n" + MemoryText(memory, context) + "\n" + RankText(spec.config().reduction_slices, ranks);
  }

  std::string AsJson(const checkpoint::Checkpoint& checkpoint, const models::Spec& spec,
                     const MemoryNeed& memory, const std::vector<RankShare>& ranks,
                     const TokenizerResult& tokenizer, int64_t context) const {
    report::Json json;
    json.BeginObject().Key("model").Text(model_);
    json.Key("config").BeginObject();
    for (const models::Fact& fact : spec.Describe())
      if (!fact.key.empty()) json.Key(fact.key).Raw(fact.json);
    json.EndObject();
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
          .Key("token_bytes")
          .Integer(static_cast<int64_t>(share.token_bytes))
          .Key("state_bytes")
          .Integer(static_cast<int64_t>(share.state_bytes))
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
