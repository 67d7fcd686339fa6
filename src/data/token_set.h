// Tokenised documents, wherever they lie.
#ifndef FUSIONTREE_DATA_TOKEN_SET_H_
#define FUSIONTREE_DATA_TOKEN_SET_H_

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/status.h"

namespace fusiontree::data {

// Immutable, safe to read from many threads.
class TokenSet {
 public:
  virtual ~TokenSet() = default;
  virtual int64_t documents() const = 0;
  virtual int64_t tokens() const = 0;
  virtual int64_t Length(int64_t document) const = 0;  // in tokens, at least 1
  // Tokens [offset, offset + count) of a document, which has them. `targets`: whether each may be a target.
  virtual base::Status Read(int64_t document, int64_t offset, int64_t count, int32_t* ids,
                            uint8_t* targets) const = 0;
};

// In memory: for tests and generated tasks.
class MemoryTokenSet : public TokenSet {
 public:
  // `targets` may be empty: all.
  void Add(std::vector<int32_t> ids, std::vector<uint8_t> targets = {}) {
    FT_CHECK(!ids.empty() && (targets.empty() || targets.size() == ids.size()));
    tokens_ += static_cast<int64_t>(ids.size());
    if (targets.empty()) targets.assign(ids.size(), 1);
    documents_.emplace_back(std::move(ids), std::move(targets));
  }
  int64_t documents() const override { return static_cast<int64_t>(documents_.size()); }
  int64_t tokens() const override { return tokens_; }
  int64_t Length(int64_t document) const override {
    return static_cast<int64_t>(documents_[document].first.size());
  }
  base::Status Read(int64_t document, int64_t offset, int64_t count, int32_t* ids,
                    uint8_t* targets) const override {
    const auto& [all_ids, all_targets] = documents_[document];
    FT_CHECK(offset >= 0 && count >= 0 && offset + count <= Length(document));
    std::copy_n(all_ids.begin() + offset, count, ids);
    std::copy_n(all_targets.begin() + offset, count, targets);
    return base::OkStatus();
  }

 private:
  std::vector<std::pair<std::vector<int32_t>, std::vector<uint8_t>>> documents_;
  int64_t tokens_ = 0;
};

}  // namespace fusiontree::data

#endif  // FUSIONTREE_DATA_TOKEN_SET_H_
