// A map of a YAML file, read key by key: whatever is wrong is one sentence that names the file, the key and
// the line, and a key that nobody asked for is refused with the nearest that is known.
#ifndef FUSIONTREE_TRAIN_YAML_H_
#define FUSIONTREE_TRAIN_YAML_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace fusiontree::train {

class YamlMap {
 public:
  // `name` begins every error.
  static base::Result<YamlMap> Parse(std::string_view text, const std::string& name);

  // A key that is absent leaves *out as it is. Numbers stand without quotes; integers may have underscores.
  base::Status Integer(const char* key, int64_t low, int64_t high, int64_t* out);
  base::Status Integers(const char* key, int64_t low, int64_t high, std::vector<int64_t>* out);  // a list
  base::Status Number(const char* key, double low, double high, double* out);
  base::Status Text(const char* key, std::string* out);
  base::Status Choice(const char* key, const std::vector<std::string>& choices, std::string* out);
  base::Status Bool(const char* key, bool* out);
  // A number, or a list of [x, y] with ascending x.
  base::Status Points(const char* key, double low, double high, std::vector<std::pair<double, double>>* out);
  base::Status Map(const char* key, std::vector<YamlMap>* out);   // one or none
  base::Status Maps(const char* key, std::vector<YamlMap>* out);  // a list of maps
  bool Has(const char* key) const;

  // After everything was asked for.
  base::Status RefuseUnknown() const;
  // Every scalar with its path, "stages[0].length" -> "1024".
  std::map<std::string, std::string> Leaves() const;
  // "run.yaml: stages[1]: line 12", to begin an error of one's own.
  std::string Where() const;

 private:
  struct Node;
  explicit YamlMap(std::shared_ptr<Node> node) : node_(std::move(node)) {}
  std::shared_ptr<Node> node_;
};

}  // namespace fusiontree::train

#endif  // FUSIONTREE_TRAIN_YAML_H_
