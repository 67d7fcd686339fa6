// How a run starts: its config, data and model, and where it goes on.
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/policy.h"
#include "models/fusiontree/config.h"
#include "models/init.h"
#include "models/trainable.h"
#include "parallel/tree.h"
#include "tensor/dequantise.h"
#include "train/snapshot.h"
#include "train/snapshot_folder.h"
#include "train/trainer.h"

namespace fusiontree::train {
namespace {

namespace fs = std::filesystem;

base::Result<std::string> ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return base::BadInput("{}: cannot be opened", path);
  return std::string((std::istreambuf_iterator<char>(in)), {});
}

std::string Fingerprint(const models::Model& model, const std::string& variant, int64_t slots) {
  base::NumericsPolicy policy;
  policy.variant = variant;
  policy.type = fmt::format("{}, training, {} slots, {} loss rows", model.TypeName(), slots, kLossRows);
  policy.cache_type = model.CacheTypeName();
  policy.reduction_slices = model.config().reduction_slices;
  policy.key_block = kernels::kKeyBlock;
  policy.split_keys = kernels::kSplitKeys;
  policy.vocab_block = kernels::kVocabBlock;
  return policy.Fingerprint();
}

// A checkpoint that is damaged is never passed over in silence; what to do about it is the user's to decide.
base::Result<SnapshotState> ReadLastState(const std::string& run, const std::vector<int64_t>& steps) {
  const std::string path = SnapshotPath(run, steps.back());
  base::Result<SnapshotState> state = ReadSnapshotState(path);
  const base::Status status = state.ok() ? CheckSnapshotFiles(path, *state) : state.status();
  if (status.ok()) return state;
  if (steps.size() == 1) return status;
  return base::Status(status.kind(), fmt::format("{} (with {} taken away, the run goes on from step {})",
                                                 status.message(), path, steps[steps.size() - 2]));
}

}  // namespace

base::Result<std::unique_ptr<Trainer>> Trainer::Create(const std::string& config_text,
                                                       const std::string& name, const Options& options,
                                                       base::ThreadPool* pool, const kernels::Table* table,
                                                       parallel::Communicator* communicator) {
  std::unique_ptr<Trainer> trainer(new Trainer(pool, table, communicator));
  FT_RETURN_IF_ERROR(trainer->Start(config_text, name, options));
  return trainer;
}

base::Status Trainer::Start(const std::string& config_text, const std::string& name, const Options& options) {
  FT_ASSIGN_OR_RETURN(config_, ReadRunConfig(config_text, name));
  config_text_ = config_text;
  run_ = options.run;
  if (!parallel::ValidDegree(config_.slots, ranks()))
    return base::BadInput("{} ranks cannot share {} slots, but {} can", ranks(), config_.slots,
                          fmt::join(parallel::ValidDegrees(config_.slots), ", "));
  FT_ASSIGN_OR_RETURN(rows_, RowSource::Open(config_));
  if (!rows_->folders().empty() && rows_->folders()[0]->has_tokenizer)
    tokenizer_folder_ = config_.data[0].path + "/" + data::kShardTokenizer;

  std::string from = config_.model;
  SnapshotState state;
  if (rank() == 0) FT_RETURN_IF_ERROR(ClearSnapshotLeftovers(run_));
  if (options.resume) {
    const std::vector<int64_t> steps = ListSnapshots(run_);
    if (steps.empty())
      return base::BadInput("{}: there is no checkpoint to go on from; without --resume the run begins anew",
                            run_);
    from = SnapshotPath(run_, steps.back());
    FT_ASSIGN_OR_RETURN(state, ReadLastState(run_, steps));
    FT_ASSIGN_OR_RETURN(const std::vector<std::string> changes, ConfigDifferences(state.config, config_text));
    if (!changes.empty() && !options.allow_changes)
      return base::BadInput("{}: the config is not the run's: {}", name, fmt::join(changes, "; "));
    step_ = state.step;
  } else if (fs::path(from).extension() == ".json") {
    FT_ASSIGN_OR_RETURN(const std::string text, ReadFile(from));
    const auto spec = models::ReadSpec(text);
    if (!spec.ok()) return spec.status().WithContext(from);
    from = run_ + "/initial";
    if (rank() == 0) {
      std::error_code error;
      fs::create_directories(from, error);
      if (error) return base::Failed("{}: cannot be made: {}", from, error.message());
      FT_RETURN_IF_ERROR(
          models::WriteInitialWeights(**spec, config_.seed, tensor::DType::kF32, from, nullptr));
      std::ofstream out(from + "/config.json", std::ios::binary);
      out << text;
      out.close();
      if (!out) return base::Failed("{}/config.json: cannot be written", from);
    }
    if (communicator_) communicator_->Barrier();
  }
  FT_RETURN_IF_ERROR(LoadModel(from));
  if (options.resume) {
    if (state.fingerprint != fingerprint_ && !options.allow_changes)
      return base::BadInput("{}: was made under another numerics policy ({}, now {})", from,
                            state.fingerprint, fingerprint_);
    FT_RETURN_IF_ERROR(
        ReadSnapshotValues(from, *layout_, ShardOf(rank()), master_.data(), first_.data(), second_.data()));
    saved_step_ = step_;
    if (const Stage* passing = PassingStage()) {
      FT_ASSIGN_OR_RETURN(const Lanes lanes, ReadLanes(from, passing->rows(), slot_builder_->state_bytes()));
      slot_builder_->carried().Restore(lanes);
    }
  }
  FT_RETURN_IF_ERROR(LoadTeacher());
  return Refresh();
}

base::Status Trainer::LoadModel(const std::string& folder) {
  FT_ASSIGN_OR_RETURN(const checkpoint::Checkpoint checkpoint, checkpoint::Checkpoint::Open(folder));
  models::ModelOptions options;
  options.compute = config_.bf16 ? models::ComputeType::kBf16 : models::ComputeType::kF32;
  options.trainable = true;
  FT_ASSIGN_OR_RETURN(model_, models::LoadModel(checkpoint, options, context_));
  FT_ASSIGN_OR_RETURN(const std::optional<std::string> json, checkpoint.ReadText("config.json"));
  config_json_ = json.value_or("");
  const nlohmann::json parsed = nlohmann::json::parse(config_json_, nullptr, false);
  const bool hybrid = dynamic_cast<const models::FusionTreeConfig*>(&model_->config()) != nullptr;
  for (const char* key : {"dropout", "attention_dropout", "hidden_dropout"})
    if (!hybrid && parsed.is_object() && parsed.contains(key) && parsed[key].is_number() && parsed[key] > 0.0)
      return base::BadInput("{}/config.json: \"{}\" is {}, but only FusionTree is trained with dropout",
                            folder, key, parsed[key].get<double>());
  for (const Stage& stage : config_.stages)
    if (!hybrid && !stage.windows.empty())
      return base::BadInput("\"windows\" are drawn for FusionTree only, and {} is a {} model", folder,
                            model_->config().family);
  const models::Config& model = model_->config();
  if (rows_->vocab_size() > model.vocab_size)
    return base::BadInput("the data has {} token ids, but the model {} has a vocabulary of {}",
                          rows_->vocab_size(), config_.model, model.vocab_size);
  for (const Stage& stage : config_.stages)
    if (stage.length > model.max_positions)
      return base::BadInput("rows of {} tokens do not fit into the model's {} positions", stage.length,
                            model.max_positions);
  slot_builder_ = std::make_unique<SlotBuilder>(&config_, rows_.get(), model_.get());
  if (!tokenizer_folder_.empty()) {
    FT_ASSIGN_OR_RETURN(const tokenizer::Tokenizer tokenizer,
                        tokenizer::Tokenizer::LoadFolder(tokenizer_folder_));
    classes_ = ClassesOf(tokenizer);
  }
  objective_ = std::make_unique<Objective>(&context_, model_.get(), classes_);
  for (const Stage& stage : config_.stages)
    if (stage.state_passing && slot_builder_->state_bytes() == 0)
      return base::BadInput("\"state_passing\" needs a model with states, and {} has none", folder);
  layout_ = std::make_unique<Layout>(model_->trainable()->parameters());
  FT_RETURN_IF_ERROR(layout_->SetGroups(config_.groups));
  context_.set_recompute(config_.recompute);
  slot_sum_ = std::make_unique<SlotSum>(layout_->size());
  const base::Range shard = ShardOf(rank());
  master_.assign(static_cast<size_t>(layout_->size()), 0.0f);
  for (std::vector<float>* moments : {&first_, &second_})
    moments->assign(static_cast<size_t>(shard.end - shard.begin), 0.0f);
  fingerprint_ = Fingerprint(*model_, context_.kernels().name, config_.slots);
  return ReadMaster(checkpoint);
}

base::Status Trainer::LoadTeacher() {
  if (config_.teacher.empty()) return base::OkStatus();
  FT_ASSIGN_OR_RETURN(const checkpoint::Checkpoint checkpoint, checkpoint::Checkpoint::Open(config_.teacher));
  models::ModelOptions options;
  options.compute = config_.bf16 ? models::ComputeType::kBf16 : models::ComputeType::kF32;
  FT_ASSIGN_OR_RETURN(teacher_, models::LoadModel(checkpoint, options, context_));
  const models::Config &teacher = teacher_->config(), &student = model_->config();
  if (teacher.vocab_size != student.vocab_size)
    return base::BadInput("{}: the teacher has a vocabulary of {}, but the model of {}", config_.teacher,
                          teacher.vocab_size, student.vocab_size);
  if (!rows_->folders().empty()) {
    FT_ASSIGN_OR_RETURN(const tokenizer::Tokenizer tokenizer, tokenizer::Tokenizer::Load(checkpoint));
    if (data::TokenizerDigest(tokenizer) != rows_->folders()[0]->tokenizer_digest)
      return base::BadInput("{}: the teacher's tokenizer is not the one that {} was made with",
                            config_.teacher, config_.data[0].path);
  }
  for (const Stage& stage : config_.stages)
    if (stage.length > teacher.max_positions)
      return base::BadInput("{}: rows of {} tokens do not fit into the teacher's {} positions",
                            config_.teacher, stage.length, teacher.max_positions);
  teacher_slots_ = std::make_unique<SlotBuilder>(&config_, rows_.get(), teacher_.get());
  return base::OkStatus();
}

base::Status Trainer::ReadMaster(const checkpoint::Checkpoint& checkpoint) {
  for (size_t i = 0; i < layout_->count(); ++i) {
    const checkpoint::TensorInfo* info = checkpoint.Find(layout_->name(i));
    FT_CHECK(info != nullptr);
    std::vector<char> bytes(info->bytes);
    FT_RETURN_IF_ERROR(checkpoint.Read(*info, 0, info->bytes, bytes.data()));
    tensor::ToFloat(info->type, bytes.data(), static_cast<size_t>(info->elements()),
                    master_.data() + layout_->offset(i));
  }
  return base::OkStatus();
}

}  // namespace fusiontree::train
