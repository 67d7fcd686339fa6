// A model of testdata, loaded to be trained, and the gradients of packed documents.
#ifndef FUSIONTREE_TESTS_GRADIENT_FIXTURE_H_
#define FUSIONTREE_TESTS_GRADIENT_FIXTURE_H_

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/safetensors_writer.h"
#include "kernels/table.h"
#include "models/trainable.h"
#include "tensor/dequantise.h"
#include "train/objective.h"

namespace fusiontree {

namespace fs = std::filesystem;
inline const fs::path kTestdata = FUSIONTREE_TESTDATA;

using Tensors = std::map<std::string, std::vector<float>>;

// Packed documents of one slot.
struct Packed {
  std::vector<std::vector<int32_t>> documents;
  std::vector<int32_t> targets;  // of all rows
  int64_t counted() const {
    return std::count_if(targets.begin(), targets.end(), [](int32_t t) { return t >= 0; });
  }
};

inline Packed Pack(const std::vector<int32_t>& ids, const std::vector<size_t>& starts,
                   const std::vector<int>& mask) {
  Packed packed;
  for (size_t d = 0; d < starts.size(); ++d) {
    const size_t end = d + 1 < starts.size() ? starts[d + 1] : ids.size();
    packed.documents.emplace_back(ids.begin() + static_cast<int64_t>(starts[d]),
                                  ids.begin() + static_cast<int64_t>(end));
    for (size_t t = starts[d]; t < end; ++t)
      packed.targets.push_back(t + 1 < end && mask[t + 1] ? ids[t + 1] : -1);
  }
  return packed;
}

class Gradient : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    scratch_ = fs::path(testing::TempDir()) / ("gradient_" + std::to_string(::getpid()));
    fs::create_directories(scratch_);
  }
  void TearDown() override { fs::remove_all(scratch_); }
  fs::path Folder() const { return kTestdata / GetParam(); }

  void Open(const fs::path& folder) {
    auto opened = checkpoint::Checkpoint::Open(folder.string());
    ASSERT_TRUE(opened.ok()) << opened.status().message();
    checkpoint_.emplace(std::move(opened).value());
  }
  void Load(const fs::path& folder, models::ComputeType compute = models::ComputeType::kF32) {
    ASSERT_NO_FATAL_FAILURE(Open(folder));
    models::ModelOptions options;
    options.compute = compute;
    options.trainable = true;
    ops::Context context{&pool_, &table_};
    auto loaded = models::LoadModel(*checkpoint_, options, context);
    ASSERT_TRUE(loaded.ok()) << loaded.status().message();
    model_ = std::move(loaded).value();
  }
  // How a slot is run.
  struct Way {
    int threads = 2;
    bool recompute = false;
    size_t drop_from = SIZE_MAX;
    ops::Regularisation draws;
    // Each document continues a text: where, and from which states; then what it left.
    int64_t origin = 0;
    std::vector<std::vector<std::byte>> states;
  };
  train::Losses Run(const Packed& packed, const train::LossWeights& weights, int threads = 2) {
    Way way;
    way.threads = threads;
    return Run(packed, weights, &way);
  }
  train::Losses Run(const Packed& packed, const train::LossWeights& weights, Way* way) {
    base::ThreadPool pool(way->threads);
    ops::Context context{&pool, &table_};
    context.set_recompute(way->recompute);
    cache::BlockPool pages(model_->cache_layout(), size_t{1} << 28);
    std::vector<std::unique_ptr<cache::SequenceState>> sequences;
    train::Slot slot;
    slot.regularisation = way->draws;
    for (const auto& document : packed.documents) {
      sequences.push_back(model_->NewSequence(&pages));
      if (!way->states.empty()) {
        EXPECT_TRUE(sequences.back()->ContinueFrom(way->origin, way->states[sequences.size() - 1]).ok());
      }
      EXPECT_TRUE(
          slot.batch.Add(sequences.back().get(), document.data(), static_cast<int64_t>(document.size()))
              .ok());
    }
    slot.targets = packed.targets;
    model_->trainable()->ZeroGradients(context);
    train::Objective objective(&context, model_.get());
    objective.tape().set_drop_from(way->drop_from);
    auto losses = objective.Run(slot, {packed.counted(), slot.batch.rows()}, weights);
    EXPECT_TRUE(losses.ok()) << losses.status().message();
    way->states.clear();
    for (const auto& sequence : sequences) way->states.push_back(sequence->StateBytes());
    return losses.ok() ? *losses : train::Losses();
  }
  Tensors ReadGradients() const {
    Tensors gradients;
    const auto& parameters = model_->trainable()->parameters();
    for (size_t i = 0; i < parameters.size(); ++i) {
      std::vector<float>& g = gradients[parameters[i].name];
      g.assign(static_cast<size_t>(parameters[i].elements()), NAN);
      model_->trainable()->ReadGradient(i, g.data());
    }
    return gradients;
  }
  Tensors ReadWeights() const {
    Tensors weights;
    for (const checkpoint::TensorInfo& info : checkpoint_->tensors()) {
      std::vector<char> bytes(info.bytes);
      EXPECT_TRUE(checkpoint_->Read(info, 0, info.bytes, bytes.data()).ok());
      std::vector<float>& values = weights[info.name];
      values.resize(static_cast<size_t>(info.elements()));
      tensor::ToFloat(info.type, bytes.data(), values.size(), values.data());
    }
    return weights;
  }
  // The same checkpoint with other values, all in fp32.
  fs::path Write(const Tensors& weights) {
    std::vector<checkpoint::TensorSpec> specs;
    for (const checkpoint::TensorInfo& info : checkpoint_->tensors())
      if (weights.count(info.name))
        specs.push_back({info.name, tensor::DType::kF32, {info.shape.begin(), info.shape.end()}});
    auto writer = checkpoint::SafetensorsWriter::Create((scratch_ / "model.safetensors").string(), specs);
    EXPECT_TRUE(writer.ok()) << writer.status().message();
    for (const auto& [name, values] : weights)
      EXPECT_TRUE(writer->Append(name, values.data(), values.size() * sizeof(float)).ok());
    EXPECT_TRUE(writer->Finish().ok());
    fs::copy_file(Folder() / "config.json", scratch_ / "config.json", fs::copy_options::overwrite_existing);
    return scratch_;
  }

  base::ThreadPool pool_{2};
  const kernels::Table& table_ = *kernels::RefTable();
  fs::path scratch_;
  std::optional<checkpoint::Checkpoint> checkpoint_;
  std::unique_ptr<models::Model> model_;
};

inline double Norm(const std::vector<float>& x) {
  double square = 0.0;
  for (const float v : x) square += static_cast<double>(v) * v;
  return std::sqrt(square);
}

inline std::string NameOf(const testing::TestParamInfo<std::string>& of) {
  std::string name = of.param;
  std::replace(name.begin(), name.end(), '/', '_');
  return name;
}

}  // namespace fusiontree

#endif  // FUSIONTREE_TESTS_GRADIENT_FIXTURE_H_
