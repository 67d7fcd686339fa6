// logits: logits and hidden states of given text or ids as safetensors, for comparing with another framework.
// Rows go to the file as they are made, so memory does not grow with the text.
#include <fmt/format.h>

#include <cstdio>
#include <map>

#include "base/progress.h"
#include "checkpoint/safetensors_writer.h"
#include "cli/command.h"
#include "cli/files.h"
#include "cli/model_flags.h"
#include "engine/forced_run.h"
#include "engine/setup.h"
#include "tokenizer/tokenizer.h"

namespace fusiontree::cli {
namespace {

using Sequences = std::vector<std::vector<int32_t>>;

// "_3" of one of many texts, nothing where there is only one.
std::string Suffix(bool many, size_t sequence) { return many ? fmt::format("_{}", sequence) : ""; }
// Hidden states k of text s: hidden_k, or hidden_s_k.
std::string HiddenName(bool many, size_t sequence, int64_t k) {
  return fmt::format("hidden{}_{}", Suffix(many, sequence), k);
}

// Writes the hidden states as the forwards pass by. Rows come in the order of ForcedRun's batches: each
// forward takes the next `chunk` tokens of every text that has some left.
class HiddenWriter : public ops::Probe {
 public:
  // The first `wanted` sequences are written, those behind them only ran in the same batch.
  HiddenWriter(const Sequences& sequences, size_t wanted, int64_t chunk, const models::Model& model,
               bool many, checkpoint::SafetensorsWriter* writer)
      : sequences_(sequences),
        wanted_(wanted),
        chunk_(chunk),
        layers_(model.config().num_layers),
        layer_output_(model.layer_output()),
        many_(many),
        writer_(writer) {}

  void Observe(int layer, std::string_view op, const float* value, int64_t rows, int64_t columns,
               int64_t stride) override {
    int64_t k = -1;
    if (op == "embed") k = 0;
    if (op == layer_output_ && layer + 1 < layers_) k = layer + 1;
    if (op == "final_norm") k = layers_;
    if (k < 0 || !status_.ok()) return;
    int64_t row = 0;
    for (size_t s = 0; s < sequences_.size(); ++s) {
      const int64_t length = static_cast<int64_t>(sequences_[s].size());
      const int64_t count = std::min(chunk_, length - std::min(length, done_));
      for (int64_t i = 0; i < count && s < wanted_ && status_.ok(); ++i)
        status_ = writer_->Append(HiddenName(many_, s, k), value + (row + i) * stride,
                                  static_cast<uint64_t>(columns) * sizeof(float));
      row += count;
    }
    FT_CHECK(row == rows);  // else the schedule is not the one this class assumes
    if (k == layers_) done_ += chunk_;
  }

  const base::Status& status() const { return status_; }

 private:
  const Sequences& sequences_;
  size_t wanted_;
  int64_t chunk_, layers_;
  std::string_view layer_output_;
  bool many_;
  checkpoint::SafetensorsWriter* writer_;
  int64_t done_ = 0;  // positions of every text that have passed
  base::Status status_;
};

class Logits : public Command {
 public:
  std::string Name() const override { return "logits"; }
  std::string Summary() const override {
    return "logits and hidden states of given text or ids, as safetensors";
  }
  std::string Example() const override {
    return "  fusiontree logits models/SmolLM2-135M-Instruct.Q4_1.gguf -p \"Hello there\" --hidden -o "
           "out.safetensors\n"
           "  echo '[[1, 2, 3], [4, 5]]' | fusiontree logits MODEL --ids - -o out.safetensors";
  }

  void Declare(Options& options) override {
    flags_.Declare(options);
    options.Text("-p,--prompt", "TEXT", "run this text", &prompt_);
    options.Text("--ids", "FILE", "run these token ids: a JSON list, or a list of lists; - is standard input",
                 &ids_);
    options.Text("-o,--output", "FILE",
                 "the safetensors file to write: ids [T] i64, logits [T, V] f32; for a list of "
                 "lists ids_0, logits_0, ids_1, ...",
                 &output_);
    options.Flag("--hidden",
                 "also hidden_k [T, H] f32: k = 0 after the embedding, then after each layer, the last after "
                 "the final norm (hidden_0_k, ... for a list of lists)",
                 &hidden_);
    options.Text("--batch-with", "FILE", "ids as for --ids that run in the same batch and are not written",
                 &batch_with_);
  }

  void UseRanks(parallel::Communicator* communicator) override { flags_.communicator = communicator; }

  base::Status Run() override {
    if (!output_) return base::BadInput("-o FILE is missing: where to write");
    if (prompt_.has_value() == ids_.has_value()) return base::BadInput("give either -p TEXT or --ids FILE");
    bool many = false;
    FT_ASSIGN_OR_RETURN(Sequences sequences, ReadSequences(&many));
    const size_t wanted = sequences.size();
    if (batch_with_) {
      FT_ASSIGN_OR_RETURN(const std::string text, ReadInput(*batch_with_));
      bool nested = false;
      FT_ASSIGN_OR_RETURN(const Sequences others,
                          ParseIdLists("--batch-with " + *batch_with_, text, &nested));
      sequences.insert(sequences.end(), others.begin(), others.end());
    }
    base::Progress loading("loading");
    engine::EngineOptions options = flags_.EngineOptions();
    options.progress = [&loading](double fraction) { loading.Update(fraction); };
    FT_ASSIGN_OR_RETURN(const std::unique_ptr<engine::Runtime> runtime,
                        engine::MakeRuntime(flags_.model, options));
    loading.Finish();
    FT_RETURN_IF_ERROR(CheckSequences(sequences, runtime->model->config()));
    return Write(*runtime, sequences, wanted, many);
  }

 private:
  base::Result<Sequences> ReadSequences(bool* many) const {
    if (ids_) {
      FT_ASSIGN_OR_RETURN(const std::string text, ReadInput(*ids_));
      return ParseIdLists("--ids " + *ids_, text, many);
    }
    FT_ASSIGN_OR_RETURN(const checkpoint::Checkpoint checkpoint, checkpoint::Checkpoint::Open(flags_.model));
    FT_ASSIGN_OR_RETURN(const tokenizer::Tokenizer tokenizer, tokenizer::Tokenizer::Load(checkpoint));
    FT_ASSIGN_OR_RETURN(std::vector<int32_t> ids, tokenizer.Encode(*prompt_));
    if (ids.empty()) return base::BadInput("the prompt is empty");
    return Sequences{std::move(ids)};
  }

  // Before the file is made, so that bad ids leave nothing behind.
  static base::Status CheckSequences(const Sequences& sequences, const models::Config& config) {
    for (size_t s = 0; s < sequences.size(); ++s) {
      if (static_cast<int64_t>(sequences[s].size()) > config.max_positions)
        return base::BadInput("text {} has {} tokens, but the model's context is {}", s, sequences[s].size(),
                              config.max_positions);
      for (const int32_t id : sequences[s])
        if (id >= config.vocab_size)
          return base::BadInput("text {} holds the id {}, but the vocabulary ends at {}", s, id,
                                config.vocab_size - 1);
    }
    return base::OkStatus();
  }

  base::Status Write(engine::Runtime& runtime, const Sequences& sequences, size_t wanted, bool many) {
    const models::Config& config = runtime.model->config();
    std::vector<checkpoint::TensorSpec> specs;
    int64_t rows = 0;
    for (size_t s = 0; s < wanted; ++s) {
      const int64_t length = static_cast<int64_t>(sequences[s].size());
      rows += length;
      specs.push_back({"ids" + Suffix(many, s), tensor::DType::kI64, {length}});
      specs.push_back({"logits" + Suffix(many, s), tensor::DType::kF32, {length, config.vocab_size}});
      for (int64_t k = 0; hidden_ && k <= config.num_layers; ++k)
        specs.push_back({HiddenName(many, s, k), tensor::DType::kF32, {length, config.hidden_size}});
    }
    FT_ASSIGN_OR_RETURN(checkpoint::SafetensorsWriter writer,
                        checkpoint::SafetensorsWriter::Create(*output_, specs));
    for (size_t s = 0; s < wanted; ++s) {
      const std::vector<int64_t> ids(sequences[s].begin(), sequences[s].end());
      FT_RETURN_IF_ERROR(writer.Append("ids" + Suffix(many, s), ids.data(), ids.size() * sizeof(int64_t)));
    }
    HiddenWriter hidden(sequences, wanted, flags_.chunk, *runtime.model, many, &writer);
    if (hidden_) runtime.context->set_probe(&hidden);
    base::Progress progress("running");
    int64_t done = 0;
    const base::Status run = engine::ForcedRun(
        *runtime.context, *runtime.model, sequences, {.chunk = flags_.chunk},
        [&](int64_t sequence, int64_t, const float* logits) -> base::Status {
          FT_RETURN_IF_ERROR(hidden.status());
          if (static_cast<size_t>(sequence) >= wanted) return base::OkStatus();
          progress.Update(static_cast<double>(++done) / static_cast<double>(rows));
          return writer.Append("logits" + Suffix(many, static_cast<size_t>(sequence)), logits,
                               static_cast<uint64_t>(config.vocab_size) * sizeof(float));
        });
    runtime.context->set_probe(nullptr);
    FT_RETURN_IF_ERROR(run);
    FT_RETURN_IF_ERROR(writer.Finish());
    progress.Finish();
    std::fprintf(stderr, "wrote %s: %lld positions of %zu text%s; %s, cache %s, %s\n", output_->c_str(),
                 static_cast<long long>(rows), wanted, wanted == 1 ? "" : "s",
                 runtime.model->TypeName().c_str(), runtime.model->CacheTypeName().c_str(),
                 runtime.context->kernels().name);
    return base::OkStatus();
  }

  ModelFlags flags_;
  std::optional<std::string> prompt_, ids_, output_, batch_with_;
  bool hidden_ = false;
};

}  // namespace

std::unique_ptr<Command> NewLogits() { return std::make_unique<Logits>(); }

}  // namespace fusiontree::cli
