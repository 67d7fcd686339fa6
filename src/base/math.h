// Double-precision functions of our own (R6 of docs/numerics.md): the same bits on every machine, whatever
// its libm. Relative error below 4e-16 (Pow: 1e-14) on the ranges stated.
#ifndef FUSIONTREE_BASE_MATH_H_
#define FUSIONTREE_BASE_MATH_H_

namespace fusiontree::base {

double Exp(double x);            // any x; overflows to infinity, underflows to 0
double Log(double x);            // x > 0, normal
double Pow(double x, double y);  // x > 0, as Exp(y Log(x))
// |x| <= 2^30: positions times frequencies. Absolute error below 2e-16.
double Sin(double x);
double Cos(double x);

}  // namespace fusiontree::base

#endif  // FUSIONTREE_BASE_MATH_H_
