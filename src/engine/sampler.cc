#include "engine/sampler.h"

#include <algorithm>
#include <cmath>

#include "base/philox.h"

namespace fusiontree::engine {
namespace {

constexpr uint64_t kPurposeSample = 1;  // keeps sampling's draws apart from any later use of the same seed

void PenaliseRepetition(double penalty, const std::vector<int32_t>& history, float* logits, int64_t vocab) {
  const float factor = static_cast<float>(penalty);
  std::vector<int32_t> seen(history);
  std::sort(seen.begin(), seen.end());
  seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
  for (int32_t id : seen)
    if (id < vocab) logits[id] = logits[id] > 0.0f ? logits[id] / factor : logits[id] * factor;
}

struct Candidate {
  float logit;
  int32_t id;
};
// Largest logit first, equal ones by id: a total order, so any selection by it is one fixed set.
bool Before(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

// Transformers keeps every logit that is not below the k-th largest.
void KeepTopK(int64_t k, std::vector<Candidate>* candidates) {
  if (k <= 0 || k >= static_cast<int64_t>(candidates->size())) return;
  std::nth_element(candidates->begin(), candidates->begin() + (k - 1), candidates->end(), Before);
  const float least = (*candidates)[static_cast<size_t>(k - 1)].logit;
  std::erase_if(*candidates, [&](const Candidate& c) { return c.logit < least; });
}

// Keeps the shortest head, by falling probability, whose mass reaches top_p of the candidates' mass. Sorting
// stops as soon as the head is long enough.
void KeepTopP(double top_p, const std::vector<float>& p, std::vector<Candidate>* candidates) {
  if (top_p >= 1.0) return;
  std::sort(candidates->begin(), candidates->end(),
            [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
  double total = 0.0;
  for (const Candidate& c : *candidates) total += static_cast<double>(p[static_cast<size_t>(c.id)]);
  double mass = 0.0;
  size_t kept = 0, sorted = 0;
  while (kept < candidates->size()) {
    if (kept == sorted) {
      sorted = std::min(candidates->size(), sorted == 0 ? size_t{256} : sorted * 8);
      std::partial_sort(candidates->begin() + static_cast<int64_t>(kept),
                        candidates->begin() + static_cast<int64_t>(sorted), candidates->end(), Before);
    }
    mass += static_cast<double>(p[static_cast<size_t>((*candidates)[kept].id)]);
    ++kept;
    if (mass >= top_p * total) break;
  }
  candidates->resize(kept);
}

}  // namespace

base::Status CheckSampling(const Sampling& s) {
  if (!(s.temperature >= 0.0) || s.temperature > 1e6)
    return base::BadInput("temperature {} is out of range (0 to 1000000)", s.temperature);
  if (s.top_k < 0) return base::BadInput("top_k {} is negative (0 switches it off)", s.top_k);
  if (!(s.top_p > 0.0) || s.top_p > 1.0)
    return base::BadInput("top_p {} is out of range (above 0, at most 1)", s.top_p);
  if (!(s.min_p >= 0.0) || s.min_p > 1.0) return base::BadInput("min_p {} is out of range (0 to 1)", s.min_p);
  if (!(s.repetition_penalty > 0.0) || s.repetition_penalty > 1e3)
    return base::BadInput("repetition_penalty {} is out of range (above 0, at most 1000)",
                          s.repetition_penalty);
  return base::OkStatus();
}

int32_t SampleToken(const kernels::Table& table, const Sampling& sampling, uint64_t choice, int64_t position,
                    const std::vector<int32_t>& history, float* logits, int64_t vocab) {
  if (sampling.repetition_penalty != 1.0)
    PenaliseRepetition(sampling.repetition_penalty, history, logits, vocab);
  const int64_t largest = table.argmax(logits, vocab);
  if (sampling.temperature == 0.0) return static_cast<int32_t>(largest);

  const float temperature = static_cast<float>(sampling.temperature), shift = logits[largest] / temperature;
  for (int64_t i = 0; i < vocab; ++i) logits[i] = logits[i] / temperature;
  std::vector<float> p(static_cast<size_t>(vocab));
  table.exp_sum(logits, vocab, shift, p.data());

  std::vector<Candidate> candidates(static_cast<size_t>(vocab));
  for (int64_t i = 0; i < vocab; ++i)
    candidates[static_cast<size_t>(i)] = {logits[i], static_cast<int32_t>(i)};
  KeepTopK(sampling.top_k, &candidates);
  KeepTopP(sampling.top_p, p, &candidates);
  if (sampling.min_p > 0.0) {
    const float least =
        static_cast<float>(sampling.min_p);  // the largest probability is exp(0) = 1 before scaling
    std::erase_if(candidates, [&](const Candidate& c) { return p[static_cast<size_t>(c.id)] < least; });
  }
  std::sort(candidates.begin(), candidates.end(),
            [](const Candidate& a, const Candidate& b) { return a.id < b.id; });

  double total = 0.0;
  for (const Candidate& c : candidates) total += static_cast<double>(p[static_cast<size_t>(c.id)]);
  const auto bits =
      base::Philox(sampling.seed, static_cast<uint64_t>(position), (choice << 8) | kPurposeSample);
  const double target = base::UnitDouble(bits[0], bits[1]) * total;
  double mass = 0.0;
  int32_t last = static_cast<int32_t>(largest);
  for (const Candidate& c : candidates) {
    const double weight = static_cast<double>(p[static_cast<size_t>(c.id)]);
    mass += weight;
    if (weight > 0.0) last = c.id;
    if (weight > 0.0 && mass > target) break;
  }
  return last;
}

}  // namespace fusiontree::engine
