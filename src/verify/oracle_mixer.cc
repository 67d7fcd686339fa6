#include "verify/oracle_mixer.h"

#include <utility>

namespace fusiontree::verify {

using base::Result;
using base::Status;

Result<OracleMixer> ReadMixer(const OracleTensors& tensors, const std::string& p, const OracleMixerShape& s) {
  OracleMixer m;
  FT_ASSIGN_OR_RETURN(const OracleMatrix in, tensors.Matrix(p + "in_proj", 2 * s.inner, s.hidden));
  m.in_x = RowsOf(in, 0, s.inner);
  m.in_z = RowsOf(in, s.inner, s.inner);
  if (s.kernel > 0) {
    FT_ASSIGN_OR_RETURN(m.conv, tensors.Vector(p + "conv1d.weight", s.inner * s.kernel));
    if (tensors.Has(p + "conv1d.bias")) {
      FT_ASSIGN_OR_RETURN(m.conv_bias, tensors.Vector(p + "conv1d.bias", s.inner));
    }
  }
  FT_ASSIGN_OR_RETURN(const OracleMatrix x, tensors.Matrix(p + "x_proj", s.rank + 2 * s.state, s.inner));
  m.x_dt = RowsOf(x, 0, s.rank);
  m.x_b = RowsOf(x, s.rank, s.state);
  m.x_c = RowsOf(x, s.rank + s.state, s.state);
  if (s.norms) {
    for (const auto& [name, size] :
         {std::pair{"dt_norm", s.rank}, {"b_norm", s.state}, {"c_norm", s.state}}) {
      OracleNorm norm;
      FT_ASSIGN_OR_RETURN(norm.weight, tensors.Vector(p + name + ".weight", size));
      norm.eps = s.eps;
      m.norms.push_back(std::move(norm));
    }
  }
  FT_ASSIGN_OR_RETURN(m.dt, tensors.Matrix(p + "dt_proj", s.inner, s.rank));
  FT_ASSIGN_OR_RETURN(m.a_log, tensors.Vector(p + "A_log", s.inner * s.state));
  FT_ASSIGN_OR_RETURN(m.d, tensors.Vector(p + "D", s.inner));
  FT_ASSIGN_OR_RETURN(m.out, tensors.Matrix(p + "out_proj", s.hidden, s.inner));
  return m;
}

Status WalkMixer(Walker* walker, const OracleMixer& m, const std::vector<SequenceRows>& sequences, int layer,
                 const std::function<Rows(const Side&)>& input) {
  for (const auto& [op, w] : {std::pair{"in_proj_x", &m.in_x}, {"in_proj_z", &m.in_z}}) {
    FT_RETURN_IF_ERROR(walker->Step(layer, op, [&, matrix = w](const Side& s) {
      return s.Product(input(s), *matrix, s.Products(*matrix), nullptr);
    }));
  }
  FT_RETURN_IF_ERROR(walker->Step(layer, "conv", [&](const Side& s) {
    const Rows& x = s.at("in_proj_x");
    return s.math.Apply(
        m.conv.empty() ? s.Exactly(x) : s.math.Convolve(x, sequences, m.conv, m.conv_bias, false),
        Curve::kSilu);
  }));
  for (const auto& [op, w] : {std::pair{"x_proj_dt", &m.x_dt}, {"x_proj_b", &m.x_b}, {"x_proj_c", &m.x_c}}) {
    FT_RETURN_IF_ERROR(walker->Step(layer, op, [&, matrix = w](const Side& s) {
      return s.Product("conv", *matrix, s.Products(*matrix), nullptr);
    }));
  }
  const char *dt = "x_proj_dt", *b = "x_proj_b", *c = "x_proj_c";
  if (!m.norms.empty()) {
    const std::pair<const char*, const char**> normed[] = {{"dt_norm", &dt}, {"b_norm", &b}, {"c_norm", &c}};
    for (size_t i = 0; i < 3; ++i) {
      const char* from = *normed[i].second;
      FT_RETURN_IF_ERROR(walker->Step(layer, normed[i].first,
                                      [&](const Side& s) { return s.math.Norm(s.at(from), m.norms[i]); }));
      *normed[i].second = normed[i].first;
    }
  }
  FT_RETURN_IF_ERROR(walker->Step(
      layer, "dt_proj", [&](const Side& s) { return s.Product(dt, m.dt, s.Products(m.dt), nullptr); }));
  FT_RETURN_IF_ERROR(walker->Step(layer, "delta", [&](const Side& s) {
    return s.math.Apply(s.Exactly(s.at("dt_proj")), Curve::kSoftplus);
  }));
  return walker->Step(layer, "scan", [&](const Side& s) {
    return s.math.Scan({s.at("conv"), s.at("delta"), s.at("in_proj_z"), s.at(b), s.at(c)}, sequences, m.a_log,
                       m.d);
  });
}

}  // namespace fusiontree::verify
