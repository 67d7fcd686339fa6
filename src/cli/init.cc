// init: a fresh checkpoint from a config, with the initial weights of its family.
#include "models/init.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>
#include <vector>

#include "base/progress.h"
#include "cli/command.h"
#include "cli/files.h"
#include "cli/tokens.h"
#include "report/units.h"
#include "tokenizer/tokenizer.h"

namespace fusiontree::cli {
namespace {

namespace fs = std::filesystem;

class Init : public Command {
 public:
  std::string Name() const override { return "init"; }
  std::string Summary() const override { return "a fresh checkpoint from a config"; }
  std::string Example() const override {
    return "  fusiontree init configs/small.json -o fresh --seed 1\n"
           "  fusiontree init config.json -o fresh --dtype bf16 --tokenizer another-model";
  }

  void Declare(Options& options) override {
    options.Argument("CONFIG.json", "what the model is: a config.json of any supported family", &config_);
    options.Text("-o,--output", "FOLDER", "the folder to make; it must be empty or not there yet", &output_);
    options.Integer("--seed", "decides every random weight (default 0)", 0, INT64_MAX, &seed_);
    options.Choice("--dtype", {"f32", "bf16", "f16"},
                   "type of the stored weights; A_log, D and the step's bias stay f32 (default f32)",
                   &dtype_);
    options.Text("--tokenizer", "MODEL", "copy the tokenizer files of this folder", &tokenizer_);
  }

  base::Status Run() override {
    if (!output_) return base::BadInput("-o FOLDER is missing: where to write");
    FT_ASSIGN_OR_RETURN(const std::string text, ReadInput(config_));
    const base::Result<std::unique_ptr<models::Spec>> spec = models::ReadSpec(text);
    if (!spec.ok() && fs::path(config_).filename() == "config.json") return spec.status();
    if (!spec.ok()) return spec.status().WithContext(config_);
    if (tokenizer_) FT_RETURN_IF_ERROR(CheckTokenizer((*spec)->config().vocab_size));
    const fs::path folder(*output_);
    std::error_code error;
    const bool made = fs::create_directories(folder, error);
    if (error) return base::BadInput("{}: cannot be made: {}", *output_, error.message());
    if (!made && !fs::is_empty(folder, error))
      return base::BadInput("{}: is not an empty folder; init overwrites nothing", *output_);
    base::Progress progress("writing");
    const tensor::DType type = dtype_ == "bf16"  ? tensor::DType::kBF16
                               : dtype_ == "f16" ? tensor::DType::kF16
                                                 : tensor::DType::kF32;
    FT_RETURN_IF_ERROR(models::WriteInitialWeights(**spec, static_cast<uint64_t>(seed_), type,
                                                   folder.string(),
                                                   [&](double part) { progress.Update(part); }));
    progress.Finish();
    FT_RETURN_IF_ERROR(WriteFile(folder / "config.json", text));
    if (tokenizer_) FT_RETURN_IF_ERROR(CopyTokenizer(folder));
    const double bytes = static_cast<double>(fs::file_size(folder / "model.safetensors", error));
    return WriteOutput(fmt::format("wrote {}: a {} model of {} layers, {} in {}, seed {}\n", *output_,
                                   (*spec)->config().family, (*spec)->config().num_layers,
                                   report::Bytes(bytes), dtype_, seed_));
  }

 private:
  base::Status CheckTokenizer(int64_t vocab_size) const {
    FT_ASSIGN_OR_RETURN(const tokenizer::Tokenizer tokenizer, LoadTokenizer(*tokenizer_));
    if (static_cast<int64_t>(tokenizer.vocab_size()) > vocab_size)
      return base::BadInput("{}: the tokenizer has {} ids, but \"vocab_size\" is {}", *tokenizer_,
                            tokenizer.vocab_size(), vocab_size);
    if (!fs::exists(fs::path(*tokenizer_) / "tokenizer.json"))
      return base::BadInput("{}: there is no tokenizer.json to copy", *tokenizer_);
    return base::OkStatus();
  }

  base::Status CopyTokenizer(const fs::path& folder) const {
    std::vector<const char*> names(std::begin(tokenizer::kTokenizerFiles),
                                   std::end(tokenizer::kTokenizerFiles));
    names.push_back("generation_config.json");
    for (const char* name : names) {
      const fs::path from = fs::path(*tokenizer_) / name;
      std::error_code error;
      if (!fs::exists(from, error)) continue;
      fs::copy_file(from, folder / name, error);
      if (error) return base::Failed("{}: cannot be copied: {}", from.string(), error.message());
    }
    return base::OkStatus();
  }

  static base::Status WriteFile(const fs::path& path, const std::string& text) {
    std::ofstream out(path, std::ios::binary);
    out << text;
    out.close();
    if (!out) return base::Failed("{}: cannot be written", path.string());
    return base::OkStatus();
  }

  std::string config_, dtype_ = "f32";
  std::optional<std::string> output_, tokenizer_;
  int64_t seed_ = 0;
};

}  // namespace

std::unique_ptr<Command> NewInit() { return std::make_unique<Init>(); }

}  // namespace fusiontree::cli
