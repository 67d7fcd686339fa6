// Every file of configs/: read as a run, its model too, and counted.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "models/spec.h"
#include "train/run_config.h"

namespace fusiontree::train {
namespace {

namespace fs = std::filesystem;

std::string Slurp(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in) << path;
  return {std::istreambuf_iterator<char>(in), {}};
}

struct Preset {
  std::string text;
  RunConfig run;
  std::unique_ptr<models::Spec> model;
  int64_t parameters = 0;
};

Preset Read(const fs::path& path) {
  Preset preset;
  preset.text = Slurp(path);
  auto run = ReadRunConfig(preset.text, path.string());
  EXPECT_TRUE(run.ok()) << run.status().message();
  if (!run.ok()) return preset;
  preset.run = *run;
  auto spec = models::ReadSpec(Slurp(run->model));
  EXPECT_TRUE(spec.ok()) << path << ": " << spec.status().message();
  if (!spec.ok()) return preset;
  preset.model = std::move(*spec);
  for (const models::TensorRule& rule : preset.model->Rules(checkpoint::Checkpoint::Format::kSafetensors)) {
    int64_t elements = 1;
    for (const int64_t n : rule.shape) elements *= n;
    preset.parameters += elements;
  }
  return preset;
}

std::vector<fs::path> Files(const char* folder, const char* extension) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(fs::path(FUSIONTREE_SOURCE) / folder))
    if (entry.path().extension() == extension) files.push_back(entry.path());
  return files;
}

TEST(Presets, EachIsARunOfAModelThatIsThere) {
  std::set<fs::path> used;
  const std::vector<fs::path> runs = Files("configs", ".yaml");
  EXPECT_GE(runs.size(), 18u);
  for (const fs::path& path : runs) {
    SCOPED_TRACE(path.string());
    const Preset preset = Read(path);
    ASSERT_NE(preset.model, nullptr);
    used.insert(fs::weakly_canonical(preset.run.model));
    const models::Config& model = preset.model->config();
    for (const Stage& stage : preset.run.stages) EXPECT_LE(stage.length, model.max_positions);
    for (const data::RecallOptions& task : preset.run.recall) EXPECT_EQ(task.vocab_size, model.vocab_size);
    // The default slots can be shared by two ranks where there are several.
    EXPECT_TRUE(preset.run.slots == 1 || preset.run.slots % 2 == 0);
  }
  for (const fs::path& path : Files("configs", ".json")) {
    EXPECT_TRUE(models::ReadSpec(Slurp(path)).ok()) << path;
    if (path.filename() != "small.json") {
      EXPECT_EQ(used.count(fs::weakly_canonical(path)), 1u) << path;
    }
  }
}

TEST(Presets, AreOfTheSizesTheyAreCalledBy) {
  for (const auto& [name, size] : {std::pair("10m", 10e6), {"130m", 130e6}, {"1b", 1.08e9}})
    EXPECT_NEAR(static_cast<double>(
                    Read(fs::path(FUSIONTREE_SOURCE) / "configs" / (std::string(name) + ".yaml")).parameters),
                size, 0.02 * size)
        << name;
}

TEST(Presets, AblationsHaveTheParametersAndTheRunOfTheHybrid) {
  const Preset hybrid = Read(fs::path(FUSIONTREE_SOURCE) / "configs/ablations/hybrid.yaml");
  ASSERT_GT(hybrid.parameters, 0);
  int others = 0;
  for (const fs::path& path : Files("configs/ablations", ".yaml")) {
    const Preset preset = Read(path);
    EXPECT_NEAR(static_cast<double>(preset.parameters), static_cast<double>(hybrid.parameters),
                0.02 * static_cast<double>(hybrid.parameters))
        << path;
    const auto differences = ConfigDifferences(hybrid.text, preset.text);
    ASSERT_TRUE(differences.ok());
    for (const std::string& difference : *differences)
      EXPECT_TRUE(difference.rfind("model: ", 0) == 0 || difference.rfind("stages[0].windows", 0) == 0)
          << path << ": " << difference;
    others += !differences->empty();
  }
  EXPECT_EQ(others + 1, static_cast<int>(Files("configs/ablations", ".yaml").size()))
      << "two are the same run";
}

TEST(Presets, WhatARunNamesLiesBesideItOrInTheCurrentFolder) {
  const fs::path folder = fs::path(testing::TempDir()) / ("presets_" + std::to_string(::getpid()));
  fs::create_directories(folder / "shards");
  const std::string text =
      "model: m.json\ndata: [{path: shards}, {path: /absolute}]\nstages: [{tokens: 8, length: 4, batch: "
      "8}]\n";
  const std::string run = (folder / "run.yaml").string();
  auto read = ReadRunConfig(text, run);
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->model, "m.json");
  EXPECT_EQ(read->data[0].path, (folder / "shards").string());
  EXPECT_EQ(read->data[1].path, "/absolute");
  std::ofstream(folder / "m.json") << "{}";
  EXPECT_EQ(ReadRunConfig(text, run)->model, (folder / "m.json").string());
  EXPECT_EQ(ReadRunConfig(text, "run.yaml")->model, "m.json");
  fs::remove_all(folder);
}

}  // namespace
}  // namespace fusiontree::train
