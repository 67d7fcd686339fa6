// The losses of training and their gradients, row by row of a chunk of logits (R3 of docs/numerics.md:
// vocabulary blocks in order, ties to the lowest id), and of a layer's gates. Values are summed in double, in
// the order of rows.
#ifndef FUSIONTREE_OPS_LOSS_H_
#define FUSIONTREE_OPS_LOSS_H_

#include <cstdint>
#include <vector>

#include "ops/context.h"

namespace fusiontree::ops {

// A chunk of logits [m, stride], columns [0, n).
struct Logits {
  const float* values;
  int64_t stride, m, n;
};

// loss[i] = log sum exp(x_i) - x_i[target_i], in nats. dlogits [m, stride] = scale * (softmax(x_i) - onehot),
// columns past n zero; it may be the logits. row_ok[i] becomes 0 where a logit is not finite.
void CrossEntropy(Context& context, const Logits& logits, const int32_t* targets, float scale, double* loss,
                  float* dlogits, uint8_t* row_ok);

// Hinton et al., 2015: loss[i] = T² KL(softmax(teacher_i / T) || softmax(student_i / T)), in nats.
// dstudent += scale * T (softmax(student_i / T) - softmax(teacher_i / T)). The teacher has no gradient.
void Distill(Context& context, const Logits& student, const Logits& teacher, float temperature, float scale,
             double* loss, float* dstudent, uint8_t* row_ok);

// The gates of one layer, g [m, stride] in [0, 1], columns [0, n).
struct Gates {
  const float* values;
  int64_t stride, m, n;
  std::vector<uint8_t> counted;  // [m]: rows that count; empty: all
  bool Counts(int64_t row) const { return counted.empty() || counted[static_cast<size_t>(row)] != 0; }
  int64_t Count() const;
};
// All are means over tokens x columns. Balance is relu(low - mean) + relu(mean - high), of the mean of all,
// or (`per_channel`) of each column's mean, then averaged. Entropy is -mean(H2(g)), H2 in nats.
struct GateTerms {
  double mean = 0.0, balance = 0.0, entropy = 0.0, polarise = 0.0;  // polarise: mean(g (1 - g))
};
struct GateWeights {
  double low = 0.4, high = 0.6;
  bool per_channel = false;
  bool measure_entropy = false;  // also where its factor is 0; else that term is left 0: it costs logarithms
  double balance = 0.0, entropy = 0.0, polarise = 0.0;  // each term's factor in the gradient
};
// dgate (null: values only), with the stride of the gates, is added to.
GateTerms GateLosses(Context& context, const Gates& gates, const GateWeights& weights, float* dgate);

}  // namespace fusiontree::ops

#endif  // FUSIONTREE_OPS_LOSS_H_
