#include "cli/files.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/json.h"

namespace fusiontree::cli {
namespace {

// A value for an error's sentence: short, and well-formed whatever it holds.
std::string Shown(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).substr(0, 40);
}

}  // namespace

base::Result<std::string> ReadInput(const std::string& path) {
  const bool standard = path == "-";
  FILE* file = standard ? stdin : std::fopen(path.c_str(), "rb");
  if (file == nullptr) return base::BadInput("cannot open {}: {}", path, std::strerror(errno));
  struct stat info = {};
  if (!standard && fstat(fileno(file), &info) == 0 && S_ISDIR(info.st_mode)) {
    std::fclose(file);
    return base::BadInput("{} is a folder, but a file is expected", path);
  }
  std::string text;
  char buffer[65536];
  size_t n;
  while ((n = std::fread(buffer, 1, sizeof buffer, file)) > 0 && text.size() <= kMaxInputBytes)
    text.append(buffer, n);
  const bool failed = std::ferror(file) != 0;
  const int error = errno;
  if (!standard) std::fclose(file);
  const std::string name = standard ? "standard input" : path;
  if (failed) return base::BadInput("cannot read {}: {}", name, std::strerror(error));
  if (text.size() > kMaxInputBytes)
    return base::BadInput("{} is larger than the {} bytes that are read at most", name, kMaxInputBytes);
  return text;
}

base::Result<std::vector<std::vector<int32_t>>> ParseIdLists(const std::string& what, const std::string& text,
                                                             bool* nested) {
  using nlohmann::json;
  const base::Result<json> parsed = base::ParseJson(text);
  if (!parsed.ok()) return parsed.status().WithContext(what);
  const json& document = *parsed;
  if (!document.is_array())
    return base::BadInput("{} must hold a JSON list of token ids or a list of such lists", what);
  if (document.empty()) return base::BadInput("{}: the list of token ids is empty", what);
  *nested = document.front().is_array();
  std::vector<std::vector<int32_t>> lists;
  const auto read = [&](const json& list) -> base::Status {
    std::vector<int32_t> ids;
    for (const json& id : list) {
      if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > INT32_MAX)
        return base::BadInput("{}: entry {} of list {} is {}, but a token id is expected", what, ids.size(),
                              lists.size(), Shown(id));
      ids.push_back(id.get<int32_t>());
    }
    if (ids.empty()) return base::BadInput("{}: list {} is empty", what, lists.size());
    lists.push_back(std::move(ids));
    return base::OkStatus();
  };
  if (!*nested) {
    FT_RETURN_IF_ERROR(read(document));
    return lists;
  }
  for (const json& list : document) {
    if (!list.is_array())
      return base::BadInput("{}: entry {} is {}, but a list of token ids is expected", what, lists.size(),
                            Shown(list));
    FT_RETURN_IF_ERROR(read(list));
  }
  return lists;
}

base::Status WriteOutput(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
    return base::Failed("cannot write to standard output: {}", std::strerror(errno));
  return base::OkStatus();
}

}  // namespace fusiontree::cli
