#include <map>
#include <string>
#include <utility>

#include "base/bytes.h"
#include "checkpoint/json_events.h"
#include "checkpoint/safetensors.h"

namespace fusiontree::checkpoint {
namespace {

using base::BadInput;
using base::Quote;
using base::Result;

// {"weight_map": {tensor: shard}, "metadata": anything}
class IndexEvents final : public JsonEvents {
 public:
  std::map<std::string, std::string> map;
  bool has_map = false;

 private:
  static constexpr int kMaxDepth = 64;

  bool Open(bool is_object) override {
    if (++depth_ > kMaxDepth) return Stop(BadInput("it is nested deeper than {} levels", kMaxDepth));
    if (depth_ == 2 && key_ == "weight_map") {
      if (!is_object) return Stop(BadInput("\"weight_map\" must be an object, but is a list"));
      in_map_ = has_map = true;
    } else if (in_map_) {
      return Stop(BadInput("the shard of tensor {} must be a file name, but is {}", Quote(key_),
                           is_object ? "an object" : "a list"));
    }
    return true;
  }
  bool Close() override {
    --depth_;
    in_map_ = false;  // nothing opens inside the map
    return true;
  }
  bool Key(std::string& key) override {
    if (depth_ == 1 && key == "weight_map" && has_map) return Stop(BadInput("\"weight_map\" appears twice"));
    if (in_map_ && map.count(key) != 0) return Stop(BadInput("tensor {} appears twice", Quote(key)));
    key_ = std::move(key);
    return true;
  }
  bool Value(const Scalar& value) override {
    if (depth_ == 1 && key_ == "weight_map") {
      return Stop(BadInput("\"weight_map\" must be an object, but is {}", Name(value.kind)));
    }
    if (!in_map_) return true;
    if (value.kind != Kind::kString) {
      return Stop(
          BadInput("the shard of tensor {} must be a file name, but is {}", Quote(key_), Name(value.kind)));
    }
    const std::string& shard = *value.text;
    if (shard.empty() || shard == "." || shard == ".." || shard.find('/') != std::string::npos ||
        shard.find('\0') != std::string::npos) {
      return Stop(BadInput("the shard {} of tensor {} must be the name of a file in the same folder",
                           Quote(shard), Quote(key_)));
    }
    map.emplace(key_, std::move(*value.text));
    return true;
  }

  std::string key_;
  int depth_ = 0;
  bool in_map_ = false;
};

}  // namespace

Result<std::map<std::string, std::string>> ParseSafetensorsIndex(std::string_view text) {
  IndexEvents events;
  FT_RETURN_IF_ERROR(ParseJson(text, &events).WithContext("the shard index"));
  if (!events.has_map) return BadInput("the shard index: it has no \"weight_map\"");
  if (events.map.empty()) return BadInput("the shard index: its \"weight_map\" is empty");
  return std::move(events.map);
}

}  // namespace fusiontree::checkpoint
