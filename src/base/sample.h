// For tests: what an instrumented build, ten times slower, takes of a list of cases.
#ifndef FUSIONTREE_BASE_SAMPLE_H_
#define FUSIONTREE_BASE_SAMPLE_H_

#include <cstddef>
#include <vector>

namespace fusiontree::base {

#ifdef FUSIONTREE_INSTRUMENTED
constexpr bool kInstrumented = true;
#else
constexpr bool kInstrumented = false;
#endif

// All cases; under sanitizers every `step`-th, which the release build runs with all the others.
template <typename T>
std::vector<T> Sample(std::vector<T> cases, size_t step) {
  if (!kInstrumented) return cases;
  std::vector<T> some;
  for (size_t i = 0; i < cases.size(); i += step) some.push_back(cases[i]);
  return some;
}

}  // namespace fusiontree::base

#endif  // FUSIONTREE_BASE_SAMPLE_H_
