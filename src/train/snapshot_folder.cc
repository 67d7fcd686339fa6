#include "train/snapshot_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "train/snapshot.h"

namespace fusiontree::train {
namespace {

namespace fs = std::filesystem;
constexpr const char* kPrefix = "step-";
constexpr const char* kRemoved = ".removed";
constexpr const char* kNewLink = "best.new";

std::string FolderOf(const std::string& run) { return run + "/checkpoints"; }

void Link(const std::string& run, const std::optional<BestSnapshot>& best) {
  std::error_code ignored;
  const fs::path link = FolderOf(run) + "/best", fresh = FolderOf(run) + "/" + kNewLink;
  if (!best) {
    if (fs::is_symlink(link, ignored)) fs::remove(link, ignored);
    return;
  }
  const fs::path target = fs::path(SnapshotPath(run, best->step)).filename();
  if (fs::read_symlink(link, ignored) == target) return;
  fs::remove(fresh, ignored);
  fs::create_directory_symlink(target, fresh, ignored);
  fs::rename(fresh, link, ignored);
}

// A folder that is only half there must not look whole, so it first gets another name.
void Remove(const std::string& path) {
  std::error_code error;
  fs::rename(path, path + kRemoved, error);
  if (!error) fs::remove_all(path + kRemoved, error);
}

}  // namespace

std::string SnapshotPath(const std::string& run, int64_t step) {
  return fmt::format("{}/{}{:08}", FolderOf(run), kPrefix, step);
}

std::vector<int64_t> ListSnapshots(const std::string& run) {
  std::vector<int64_t> steps;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(FolderOf(run), error)) {
    const std::string name = entry.path().filename().string();
    int64_t step = 0;
    const char* begin = name.data() + std::strlen(kPrefix);
    if (name.rfind(kPrefix, 0) != 0) continue;
    const auto [end, bad] = std::from_chars(begin, name.data() + name.size(), step);
    if (bad == std::errc() && end == name.data() + name.size()) steps.push_back(step);
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

base::Status ClearSnapshotLeftovers(const std::string& run) {
  std::error_code error;
  std::vector<fs::path> leftovers;
  for (const auto& entry : fs::directory_iterator(FolderOf(run), error)) {
    const std::string name = entry.path().filename().string();
    if (name == kNewLink ||
        (name.rfind(kPrefix, 0) == 0 && (name.ends_with(".partial") || name.ends_with(kRemoved))))
      leftovers.push_back(entry.path());
  }
  for (const fs::path& path : leftovers) {
    fs::remove_all(path, error);
    if (error) return base::Failed("{}: cannot be taken away: {}", path.string(), error.message());
  }
  return base::OkStatus();
}

std::optional<BestSnapshot> FindBestSnapshot(const std::string& run) {
  std::optional<BestSnapshot> best;
  int64_t bytes = 0;
  const std::vector<int64_t> steps = ListSnapshots(run);
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    const base::Result<SnapshotState> state = ReadSnapshotState(SnapshotPath(run, *step));
    if (!state.ok() || !state->held_out) continue;
    if (!best) bytes = state->held_out->bytes;
    if (state->held_out->bytes != bytes) continue;
    if (!best || state->held_out->bits_per_byte <= best->bits_per_byte)
      best = {*step, state->held_out->bits_per_byte};
  }
  return best;
}

void KeepSnapshots(const std::string& run, int64_t keep) {
  const std::optional<BestSnapshot> best = FindBestSnapshot(run);
  Link(run, best);
  const std::vector<int64_t> steps = ListSnapshots(run);
  for (size_t i = 0; i + static_cast<size_t>(keep) < steps.size(); ++i)
    if (!best || steps[i] != best->step) Remove(SnapshotPath(run, steps[i]));
}

}  // namespace fusiontree::train
