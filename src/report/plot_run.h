// The pictures of a training run, made of its metrics.jsonl.
#ifndef FUSIONTREE_REPORT_PLOT_RUN_H_
#define FUSIONTREE_REPORT_PLOT_RUN_H_

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "report/plot.h"
#include "report/run_log.h"

namespace fusiontree::report {

// What is drawn of a run, as columns. Gates by step and layer; a layer without a gate has no entry.
struct RunHistory {
  std::map<std::string, Series, std::less<>> numbers;  // by name: x is the step
  std::map<int64_t, std::map<int, GatesRecord>> gates;
  int64_t first_step = 0, last_step = 0;
  bool empty = true;  // no record at all

  // A record of a kind that is not drawn changes nothing. Errors begin with the name of what is wrong.
  base::Status Add(Record record);
};

// The figures that the history has data for, by name: "loss", "learning_rate", "gates", "overview".
std::vector<std::pair<std::string, Figure>> RunFigures(const RunHistory& history, const std::string& title);

// Reads <run_folder>/metrics.jsonl and writes <run_folder>/plots/<name>.png and .svg of each figure. Returns
// the paths written. An error when there is no such file, no record in it, nothing to draw, or a damaged
// line.
base::Result<std::vector<std::string>> PlotRun(const std::string& run_folder);

// The line that the eye looks for in noise: the mean of the middle half of a point's neighbours, as many as
// `share` of all, which no outlier moves; the least and the greatest of them are the band. At most about
// 2,000 points come out; gaps stay gaps there. Series of fewer than 100 points stay as they are.
Series Smoothed(const Series& series, double share);

}  // namespace fusiontree::report

#endif  // FUSIONTREE_REPORT_PLOT_RUN_H_
