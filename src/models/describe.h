// Helpers of Spec::Describe.
#ifndef FUSIONTREE_MODELS_DESCRIBE_H_
#define FUSIONTREE_MODELS_DESCRIBE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/grouped.h"
#include "models/spec.h"

namespace fusiontree::models {

std::string YesNo(bool value);
using base::Grouped;

// "24 layers see the whole context", or which window how many layers have.
std::string WindowText(const std::vector<int64_t>& windows);

// JSON literals of a Fact.
Fact IntegerFact(const char* key, int64_t value);
Fact NumberFact(const char* key, double value);
Fact BoolFact(const char* key, bool value);
Fact TextFact(const char* key, const std::string& plain_ascii);
Fact IntegersFact(const char* key, const std::vector<int64_t>& values);
Fact Line(const char* label, std::string text);

}  // namespace fusiontree::models

#endif  // FUSIONTREE_MODELS_DESCRIBE_H_
