#include "data/sources.h"

#include <glob.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <system_error>

#include "base/bytes.h"
#include "checkpoint/input_file.h"

namespace fusiontree::data {
namespace {

namespace fs = std::filesystem;
using base::BadInput;
using base::Quote;

bool Hidden(const fs::path& path) { return path.filename().string().starts_with("."); }

base::Status AddFolder(const std::string& folder, std::vector<std::string>* files) {
  std::error_code error;
  fs::recursive_directory_iterator entry(folder, error);
  std::vector<std::string> found;
  for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    std::error_code ignored;
    const bool is_folder = entry->is_directory(ignored);
    if (Hidden(entry->path())) {
      if (is_folder) entry.disable_recursion_pending();
    } else if (!is_folder) {
      found.push_back(entry->path().string());
    }
  }
  if (error) return BadInput("the folder {} cannot be listed: {}", Quote(folder), error.message());
  if (found.empty()) return BadInput("the folder {} has no file to read", Quote(folder));
  std::sort(found.begin(), found.end());
  files->insert(files->end(), found.begin(), found.end());
  return base::OkStatus();
}

std::vector<std::string> Matches(const std::string& pattern) {
  glob_t result = {};
  std::vector<std::string> found;
  if (glob(pattern.c_str(), GLOB_NOSORT, nullptr, &result) == 0)
    found.assign(result.gl_pathv, result.gl_pathv + result.gl_pathc);
  globfree(&result);
  std::sort(found.begin(), found.end());  // glob's own order is that of the locale
  return found;
}

base::Status AddPath(const std::string& path, std::vector<std::string>* files) {
  std::error_code error;
  if (fs::is_directory(path, error)) return AddFolder(path, files);
  if (fs::exists(fs::symlink_status(path, error)) || path.find_first_of("*?[") == std::string::npos) {
    files->push_back(path);
    return base::OkStatus();
  }
  const std::vector<std::string> matches = Matches(path);
  if (matches.empty()) return BadInput("no file matches {}", Quote(path));
  for (const std::string& match : matches) {
    if (fs::is_directory(match, error)) {
      FT_RETURN_IF_ERROR(AddFolder(match, files));
    } else {
      files->push_back(match);
    }
  }
  return base::OkStatus();
}

base::Result<SourceFile> Describe(const std::string& path) {
  FT_ASSIGN_OR_RETURN(const checkpoint::InputFile file, checkpoint::InputFile::Open(path));
  SourceFile source{.path = path, .size = file.size()};
  fs::path name = fs::path(path).filename();
  for (const char* other : {".gz", ".xz", ".bz2", ".zip", ".tar", ".parquet", ".arrow"})
    if (name.extension() == other)
      return BadInput("{} cannot be read: text, .jsonl and .zst of either can", Quote(path));
  if (name.extension() == ".zst") {
    source.zst = true;
    name = name.stem();
  }
  source.jsonl = name.extension() == ".jsonl" || name.extension() == ".ndjson";
  return source;
}

}  // namespace

base::Result<std::vector<SourceFile>> FindSources(const std::vector<std::string>& paths) {
  std::vector<std::string> files;
  for (const std::string& path : paths) FT_RETURN_IF_ERROR(AddPath(path, &files));
  std::vector<SourceFile> sources;
  std::set<std::string> seen;
  for (const std::string& file : files) {
    FT_ASSIGN_OR_RETURN(SourceFile source, Describe(file));
    std::error_code error;
    const fs::path real = fs::canonical(file, error);
    if (seen.insert(error ? file : real.string()).second) sources.push_back(std::move(source));
  }
  if (sources.empty()) return BadInput("no files are given to read");
  return sources;
}

}  // namespace fusiontree::data
