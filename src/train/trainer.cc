#include "train/trainer.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/policy.h"
#include "models/fusiontree/config.h"
#include "models/init.h"
#include "models/trainable.h"
#include "ops/finite_probe.h"
#include "parallel/tree.h"
#include "tensor/dequantise.h"
#include "train/snapshot.h"

namespace fusiontree::train {
namespace {

namespace fs = std::filesystem;
constexpr int64_t kExchangeFloats = 1 << 22;  // of gradients, at a time

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
  if (options.resume) {
    const std::vector<int64_t> steps = ListSnapshots(run_);
    if (steps.empty()) return base::BadInput("{}: there is no checkpoint to go on from", run_);
    from = SnapshotPath(run_, steps.back());
    FT_ASSIGN_OR_RETURN(state, ReadSnapshotState(from));
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
    FT_RETURN_IF_ERROR(ReadSnapshotValues(from, *layout_, master_.data(), first_.data(), second_.data()));
    const base::Range shard = ShardOf(rank());
    for (std::vector<float>* moments : {&first_, &second_}) {
      std::fill(moments->begin(), moments->begin() + shard.begin, 0.0f);
      std::fill(moments->begin() + shard.end, moments->end(), 0.0f);
    }
  }
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
    return base::BadInput("the data has {} token ids, but the model's vocabulary {}", rows_->vocab_size(),
                          model.vocab_size);
  for (const Stage& stage : config_.stages)
    if (stage.length > model.max_positions)
      return base::BadInput("rows of {} tokens do not fit into the model's {} positions", stage.length,
                            model.max_positions);
  pages_ = std::make_unique<cache::BlockPool>(model_->cache_layout(), size_t{1} << 40);
  objective_ = std::make_unique<Objective>(&context_, model_.get());
  layout_ = std::make_unique<Layout>(model_->trainable()->parameters());
  slot_sum_ = std::make_unique<SlotSum>(layout_->size());
  for (std::vector<float>* values : {&master_, &first_, &second_})
    values->assign(static_cast<size_t>(layout_->size()), 0.0f);
  fingerprint_ = Fingerprint(*model_, context_.kernels().name, config_.slots);
  return ReadMaster(checkpoint);
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

base::Status Trainer::Refresh() {
  std::vector<const float*> values;
  for (size_t i = 0; i < layout_->count(); ++i) values.push_back(master_.data() + layout_->offset(i));
  return model_->trainable()->Refresh(context_, values);
}

int64_t Trainer::tokens() const {
  if (step_ == 0) return 0;
  const StepPlace last = rows_->PlaceOf(step_ - 1);
  return last.tokens_before + last.stage->batch;
}

double Trainer::StepFlops() const {
  const Stage& stage = *rows_->PlaceOf(std::min(step_, steps() - 1)).stage;
  return 3.0 * static_cast<double>(stage.batch) *
         (model_->FlopsPerToken(stage.length / 2) + model_->HeadFlops());
}

base::Status Trainer::MakeSlot(const std::vector<data::Row>& rows, int64_t first_row, Slot* slot,
                               std::vector<std::unique_ptr<cache::SequenceState>>* sequences) {
  ops::Regularisation& drawn = slot->regularisation;
  drawn.seed = config_.seed;
  drawn.step = step_;
  if (const auto* model = dynamic_cast<const models::FusionTreeConfig*>(&model_->config())) {
    drawn.dropout = model->dropout;
    drawn.drop_branch = model->drop_branch;
  }
  const std::vector<int64_t>& windows = rows_->PlaceOf(step_).stage->windows;
  if (!windows.empty())
    drawn.window_size =
        windows[drawn.Draw(0, 0, -1, ops::Purpose::kWindow) % static_cast<uint64_t>(windows.size())];
  for (const data::Row& row : rows) {
    int64_t begin = 0;
    for (size_t t = 0, piece = 0; t < row.ids.size(); ++t) {
      if (piece < row.pieces.size() && row.pieces[piece].begin == static_cast<int32_t>(t)) {
        begin = static_cast<int64_t>(t);
        ++piece;
      }
      drawn.row.push_back(first_row);
      drawn.column.push_back(static_cast<int64_t>(t));
      drawn.begin.push_back(begin);
    }
    ++first_row;
    for (const data::Piece& piece : row.pieces) {
      sequences->push_back(model_->NewSequence(pages_.get()));
      FT_RETURN_IF_ERROR(
          slot->batch.Add(sequences->back().get(), row.ids.data() + piece.begin, piece.length));
    }
    if (row.pieces.empty()) {  // of a task
      sequences->push_back(model_->NewSequence(pages_.get()));
      FT_RETURN_IF_ERROR(
          slot->batch.Add(sequences->back().get(), row.ids.data(), static_cast<int64_t>(row.ids.size())));
    }
    slot->targets.insert(slot->targets.end(), row.targets.begin(), row.targets.end());
  }
  return base::OkStatus();
}

base::Status Trainer::NameNonFinite(const std::vector<data::Row>& rows, int64_t first_row) {
  Slot slot;
  std::vector<std::unique_ptr<cache::SequenceState>> sequences;
  FT_RETURN_IF_ERROR(MakeSlot(rows, first_row, &slot, &sequences));
  const int64_t count = slot.batch.rows();
  std::vector<float> hidden(static_cast<size_t>(count * model_->hidden_stride()));
  std::vector<uint8_t> ok(static_cast<size_t>(count));
  ops::FiniteProbe probe(context_.kernels());
  context_.set_probe(&probe);
  context_.set_regularisation(&slot.regularisation);
  model_->Forward(context_, slot.batch, hidden.data(), ok.data());
  context_.set_probe(nullptr);
  context_.set_regularisation(nullptr);
  return base::Failed("step {}: a value is not finite: {}", step_ + 1,
                      probe.where().empty() ? "in the losses or the backward" : probe.where());
}

base::Result<StepReport> Trainer::Step() {
  FT_CHECK(!done());
  const StepPlace place = rows_->PlaceOf(step_);
  const int64_t per_slot = place.stage->rows() / config_.slots, own = config_.slots / ranks();
  const int64_t first_slot = rank() * own;
  std::vector<std::vector<data::Row>> slots(static_cast<size_t>(own));
  int64_t targets = 0;
  for (int64_t s = 0; s < own; ++s)
    for (int64_t r = 0; r < per_slot; ++r) {
      FT_ASSIGN_OR_RETURN(data::Row row, rows_->Get(place, (first_slot + s) * per_slot + r));
      targets += row.CountTargets();
      slots[static_cast<size_t>(s)].push_back(std::move(row));
    }
  if (communicator_ != nullptr) {
    std::vector<int64_t> all(static_cast<size_t>(ranks()));
    communicator_->AllGather(&targets, sizeof(targets), all.data());
    targets = 0;
    for (const int64_t t : all) targets += t;
  }
  const StepTotals totals{targets, place.stage->batch};
  LossWeights weights = config_.losses;
  weights.balance = config_.balance.At(place.tokens_before);
  weights.entropy = config_.entropy.At(place.tokens_before);
  weights.polarise = config_.polarise.At(place.tokens_before);

  weights.monitor = (step_ + 1) % config_.log_every == 0 || step_ + 1 == steps();
  std::vector<Losses> losses(static_cast<size_t>(own));
  std::vector<GateStatistics> gates;  // of each slot and layer
  models::Trainable& trainable = *model_->trainable();
  const auto compute = [&](int64_t s, float* out) -> base::Status {
    Slot slot;
    std::vector<std::unique_ptr<cache::SequenceState>> sequences;
    const int64_t first_row = (first_slot + s) * per_slot;
    FT_RETURN_IF_ERROR(MakeSlot(slots[static_cast<size_t>(s)], first_row, &slot, &sequences));
    trainable.ZeroGradients(context_);
    const base::Result<Losses> run = objective_->Run(slot, totals, weights);
    if (!run.ok() && run.status().kind() == base::ErrorKind::kFailed)
      return NameNonFinite(slots[static_cast<size_t>(s)], first_row);
    if (!run.ok()) return run.status();
    losses[static_cast<size_t>(s)] = *run;
    gates.insert(gates.end(), objective_->gates().begin(), objective_->gates().end());
    for (size_t i = 0; i < layout_->count(); ++i) trainable.ReadGradient(i, out + layout_->offset(i));
    return base::OkStatus();
  };
  base::Result<float*> summed = slot_sum_->Run(context_, own, compute);
  if (!summed.ok()) {
    if (communicator_ != nullptr) communicator_->Fail(summed.status());
    return summed.status();
  }
  float* gradient = *summed;
  StepReport report;
  if (communicator_ != nullptr) {
    for (int64_t begin = 0; begin < layout_->size(); begin += kExchangeFloats) {
      const int64_t count = std::min(kExchangeFloats, layout_->size() - begin);
      std::copy_n(gradient + begin, count, communicator_->Window(count));
      const float* const* parts = communicator_->Exchange(count);
      if (!communicator_->status().ok()) return communicator_->status();
      context_.For(count, 4096, 2, [&](int, base::Range share) {
        parallel::SumTree(parts, ranks(), share.begin, share.end, gradient + begin);
      });
    }
    std::vector<Losses> all(static_cast<size_t>(config_.slots));
    communicator_->AllGather(losses.data(), losses.size() * sizeof(Losses), all.data());
    if (!communicator_->status().ok()) return communicator_->status();
    losses = std::move(all);
    if (!gates.empty()) {  // of every rank or of none
      std::vector<GateStatistics> all_gates(gates.size() * static_cast<size_t>(ranks()));
      communicator_->AllGather(gates.data(), gates.size() * sizeof(GateStatistics), all_gates.data());
      if (!communicator_->status().ok()) return communicator_->status();
      gates = std::move(all_gates);
    }
  }
  for (const GateStatistics& of_slot : gates) {
    const auto same = [&](const GateStatistics& g) { return g.layer == of_slot.layer; };
    const auto found = std::find_if(report.gates.begin(), report.gates.end(), same);
    if (found == report.gates.end()) {
      report.gates.push_back(of_slot);
    } else {
      found->Add(of_slot);
    }
  }
  for (const Losses& slot : losses) {
    report.losses.lm += slot.lm;
    report.losses.balance += slot.balance;
    report.losses.entropy += slot.entropy;
    report.losses.polarise += slot.polarise;
    report.losses.distill += slot.distill;
    report.losses.total += slot.total;
    report.losses.targets += slot.targets;
  }
  report.gradient_norm = __builtin_sqrt(SumOfSquares(context_, gradient, layout_->size()));
  if (!std::isfinite(report.gradient_norm)) {
    for (int64_t i = 0; i < layout_->size(); ++i)
      if (!std::isfinite(gradient[i]))
        return base::Failed("step {}: the gradient of {} is not finite", step_ + 1,
                            layout_->name(layout_->ParameterAt(i)));
    return base::Failed("step {}: the gradient's norm is not finite", step_ + 1);
  }
  const int64_t after = place.tokens_before + place.stage->batch;
  report.learning_rate =
      config_.optimizer.learning_rate * config_.rate.Factor(after) * place.stage->learning_rate_factor;
  const double clip = config_.optimizer.clip;
  const float scale =
      clip > 0.0 && report.gradient_norm > clip ? static_cast<float>(clip / report.gradient_norm) : 1.0f;
  FT_RETURN_IF_ERROR(Update(gradient, scale, report.learning_rate));
  report.step = ++step_;
  report.tokens = after;
  return report;
}

base::Range Trainer::ShardOf(int rank) const {
  return base::Share(layout_->size(), kSquareBlock, rank, ranks());
}

base::Status Trainer::Update(const float* gradient, float scale, double rate) {
  const AdamStep step{config_.optimizer, rate, step_ + 1, scale};
  const base::Range shard = ShardOf(rank());
  for (size_t i = 0; i < layout_->count(); ++i) {
    const int64_t begin = std::max(shard.begin, layout_->offset(i)),
                  end = std::min(shard.end, layout_->offset(i + 1));
    if (begin >= end) continue;
    context_.For(end - begin, 4096, 2, [&](int, base::Range share) {
      RunAdam(step, layout_->decays(i), gradient, master_.data(), first_.data(), second_.data(),
              begin + share.begin, begin + share.end);
    });
  }
  FT_RETURN_IF_ERROR(GatherShards(master_.data()));
  return Refresh();
}

base::Status Trainer::GatherShards(float* values) {
  if (communicator_ == nullptr) return base::OkStatus();
  int64_t longest = 0;
  for (int r = 0; r < ranks(); ++r) longest = std::max(longest, ShardOf(r).end - ShardOf(r).begin);
  for (int64_t begin = 0; begin < longest; begin += kExchangeFloats) {
    const int64_t count = std::min(kExchangeFloats, longest - begin);
    const auto piece = [&](int r) {
      const base::Range shard = ShardOf(r);
      return base::Range{std::min(shard.end, shard.begin + begin),
                         std::min(shard.end, shard.begin + begin + count)};
    };
    const base::Range own = piece(rank());
    std::copy(values + own.begin, values + own.end, communicator_->Window(count));
    const float* const* parts = communicator_->Exchange(count);
    if (!communicator_->status().ok()) return communicator_->status();
    for (int r = 0; r < ranks(); ++r) {
      const base::Range range = piece(r);
      std::copy_n(parts[r], range.end - range.begin, values + range.begin);
    }
  }
  return base::OkStatus();
}

base::Result<HeldOut> Trainer::EvaluateHeldOut() {
  HeldOut all;
  const int64_t sets = static_cast<int64_t>(rows_->folders().size());
  for (const auto& folder : rows_->folders()) {
    if (folder->held_out.documents() == 0) continue;
    FT_ASSIGN_OR_RETURN(const HeldOut part, Evaluate(context_, *model_, folder->held_out,
                                                     std::max<int64_t>(1, config_.evaluate_tokens / sets)));
    all.documents += part.documents;
    all.tokens += part.tokens;
    all.bytes += part.bytes;
    all.nats += part.nats;
  }
  return all;
}

base::Result<std::string> Trainer::Save() {
  const std::string path = SnapshotPath(run_, step_);
  std::vector<float> first = first_, second = second_;
  FT_RETURN_IF_ERROR(GatherShards(first.data()));
  FT_RETURN_IF_ERROR(GatherShards(second.data()));
  base::Status status;
  if (rank() == 0 && !fs::exists(path)) {
    status = WriteSnapshot(path, {step_, tokens(), config_text_, fingerprint_},
                           {config_json_, tokenizer_folder_}, *layout_, model_->trainable()->parameters(),
                           config_.bf16, {master_.data(), first.data(), second.data()});
    const std::vector<int64_t> steps = ListSnapshots(run_);
    std::error_code ignored;
    for (size_t i = 0; status.ok() && i + static_cast<size_t>(config_.keep) < steps.size(); ++i)
      fs::remove_all(SnapshotPath(run_, steps[i]), ignored);
  }
  if (!status.ok() && communicator_ != nullptr) communicator_->Fail(status);
  if (communicator_ != nullptr) {
    communicator_->Barrier();
    if (!communicator_->status().ok()) return communicator_->status();
  }
  FT_RETURN_IF_ERROR(status);
  return path;
}

}  // namespace fusiontree::train
