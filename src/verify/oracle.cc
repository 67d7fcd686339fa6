#include "verify/oracle.h"

#include <utility>

#include "verify/oracle_decoder.h"
#include "verify/oracle_fusion.h"
#include "verify/oracle_json.h"
#include "verify/oracle_mamba.h"
#include "verify/oracle_walk.h"

namespace fusiontree::verify {

using base::BadInput;
using base::OkStatus;
using base::Result;
using base::Status;

Result<std::unique_ptr<Oracle>> Oracle::Open(const checkpoint::Checkpoint* checkpoint, int threads) {
  if (checkpoint->format() == checkpoint::Checkpoint::Format::kGguf)
    return OpenDecoderOracle(checkpoint, threads);
  FT_ASSIGN_OR_RETURN(const nlohmann::json config, ReadConfigObject(*checkpoint));
  const std::string type = Text(config, "model_type");
  if (type == "fusiontree") return OpenFusionOracle(checkpoint, config, threads);
  if (type == "mamba") return OpenMambaOracle(checkpoint, config, threads);
  return OpenDecoderOracle(checkpoint, threads);
}

Status Oracle::BeforeLayers(Walker*, const std::vector<SequenceRows>&) const { return OkStatus(); }

Status Oracle::Walk(const std::vector<std::vector<int32_t>>& sequences, const EngineValues& engine,
                    const Precision& precision, const OracleSink& sink) const {
  const OracleSizes all = sizes();
  std::vector<int32_t> ids;
  std::vector<SequenceRows> rows;
  for (const std::vector<int32_t>& sequence : sequences) {
    rows.push_back({static_cast<int64_t>(ids.size()), static_cast<int64_t>(sequence.size())});
    ids.insert(ids.end(), sequence.begin(), sequence.end());
  }
  for (const int32_t id : ids)
    if (id < 0 || id >= all.vocab)
      return BadInput("token id {} is outside the vocabulary of {}", id, all.vocab);

  Walker walker(threads_, engine, precision, sink);
  {
    FT_ASSIGN_OR_RETURN(const OracleMatrix embedding, Embedding());
    FT_RETURN_IF_ERROR(walker.Step(-1, "embed", [&](const Side& s) {
      Rows out(static_cast<int64_t>(ids.size()), all.hidden);
      for (size_t r = 0; r < ids.size(); ++r)
        for (int64_t i = 0; i < all.hidden; ++i)
          out.row(static_cast<int64_t>(r))[i] = static_cast<double>(
              embedding.exact.values[static_cast<size_t>(int64_t{ids[r]} * all.hidden + i)]);
      return s.Exactly(s.math.Rounded(out, s.Products(embedding)));
    }));
  }
  walker.NextLayer("embed");
  FT_RETURN_IF_ERROR(BeforeLayers(&walker, rows));
  for (int64_t i = 0; i < all.layers; ++i) {
    FT_RETURN_IF_ERROR(WalkLayer(&walker, rows, i));
    walker.NextLayer(layer_output());
  }
  FT_ASSIGN_OR_RETURN(const OracleNorm norm, FinalNorm());
  FT_RETURN_IF_ERROR(
      walker.Step(-1, "final_norm", [&](const Side& s) { return s.math.Norm(s.at("stream"), norm); }));
  FT_ASSIGN_OR_RETURN(const OracleMatrix head, Head());
  return walker.Step(-1, "logits",
                     [&](const Side& s) { return s.Product("final_norm", head, s.Products(head), nullptr); });
}

}  // namespace fusiontree::verify
